/** What can be done with the selected studies at once. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Trash2 } from "lucide-react";
import { useLocation } from "wouter";
import { ownJob } from "../api/addresses";
import type { JobSummary } from "../api/client";
import { deleteJob, isFinal } from "../api/jobs";
import { Button, Confirm } from "../ui/controls";
import { ErrorNote } from "../ui/states";
import { plural } from "../ui/words";

type Props = {
  ids: ReadonlySet<string>;
  items: JobSummary[];
  onSelect: (ids: ReadonlySet<string>) => void;
};

export function Selected({ ids, items, onSelect }: Props) {
  const client = useQueryClient();
  const [, go] = useLocation();
  const remove = useMutation({
    mutationFn: async () => {
      for (const id of ids) {
        const open = items.some((item) => item.id === id && !isFinal(item));
        await deleteJob(ownJob(id)); // cancels one that is open; a second time deletes it
        if (open) await deleteJob(ownJob(id)).catch(() => undefined);
      }
    },
    onSettled: () => {
      onSelect(new Set());
      void client.invalidateQueries({ queryKey: ["jobs"] });
    },
  });
  if (!ids.size) return <ErrorNote error={remove.error} />;
  const [a, b] = [...ids];
  return (
    <div className="selection row between" role="status">
      {plural(ids.size, "study", "studies")} selected
      <div className="row">
        {ids.size < items.length && (
          <Button kind="quiet" onPress={() => onSelect(new Set(items.map(({ id }) => id)))}>
            Select all {items.length}
          </Button>
        )}
        {ids.size === 2 && <Button onPress={() => go(`/compare/${a}/${b}`)}>Compare</Button>}
        <Confirm
          title={`Delete ${plural(ids.size, "study", "studies")}?`}
          act="Delete"
          onConfirm={() => remove.mutate()}
          trigger={
            <Button kind="danger" isPending={remove.isPending}>
              <Trash2 aria-hidden /> Delete
            </Button>
          }
        >
          This deletes their images, findings and heatmaps for everyone. It can't be undone.
        </Confirm>
        <Button kind="quiet" onPress={() => onSelect(new Set())}>
          Clear the selection
        </Button>
      </div>
    </div>
  );
}
