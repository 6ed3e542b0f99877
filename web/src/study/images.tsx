/** The images of a study: the strip to choose from, and what is doubtful about the one that is shown. */
import { TriangleAlert } from "lucide-react";
import type { Image } from "../api/client";
import { Picture } from "../ui/states";

type Props = { images: Image[]; place: number; onPick: (place: number) => void };

export function ImageStrip({ images, place, onPick }: Props) {
  return (
    <div className="strip" role="group" aria-label="Images of the study">
      {images.map((image, i) => (
        <button
          type="button"
          key={image.id}
          aria-pressed={i === place}
          aria-label={`Image ${i + 1}, ${image.file_name}${image.state === "failed" ? ", could not be analysed" : ""}`}
          onClick={() => onPick(i)}
        >
          <Thumbnail image={image} place={i} />
        </button>
      ))}
    </div>
  );
}

function Thumbnail({ image, place }: { image: Image; place: number }) {
  if (image.state === "failed") return <TriangleAlert aria-hidden />;
  if (!image.links.image) return <span>{place + 1}</span>;
  return <Picture src={`${image.links.image}?size=128`} alt="" />;
}

/** What makes a result doubtful, such as an inverted or rotated image. */
export function Warnings({ image }: { image: Image }) {
  if (!image.warnings.length) return null;
  return (
    <ul className="note warnings" aria-label="Warnings">
      {image.warnings.map(({ code, detail }) => (
        <li key={code}>
          <TriangleAlert aria-hidden /> {detail}
        </li>
      ))}
    </ul>
  );
}
