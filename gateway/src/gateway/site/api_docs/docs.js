// Shows /openapi.json. Text is only ever set as text, so nothing in the document can become markup.

const make = (tag, text, ...children) => {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
};

const typeOf = (schema = {}) => {
  const names = (schema.anyOf ?? [schema]).map((one) => one.enum?.join(" | ") ?? one.$ref?.split("/").pop() ?? one.type);
  const limits = ["minimum", "maximum", "minLength", "maxLength", "default"]
    .map((key) => [key, schema[key] ?? schema.anyOf?.[0]?.[key]])
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([key, value]) => `${key} ${value}`);
  return [names.filter(Boolean).join(" | "), ...limits].join(", ");
};

const table = (head, rows) => {
  const line = (tag, cells) => make("tr", "", ...cells.map((cell) => make(tag, cell)));
  return make("table", "", make("thead", "", line("th", head)), make("tbody", "", ...rows.map((row) => line("td", row))));
};

const json = (value) => make("pre", typeof value === "string" ? value : JSON.stringify(value, null, 2));

const curl = (method, path, operation) => {
  const parts = [`curl -X ${method.toUpperCase()} "${location.origin}${path}"`];
  if (operation.security) parts.push('-H "Authorization: Bearer $TOKEN"');
  if (operation.requestBody) parts.push("-F files=@chest.png");
  return parts.join(" \\\n  ");
};

// A value for a schema: its own example, or one made of its parts' examples.
const exampleOf = (schema = {}) => {
  if (schema.examples) return schema.examples[0];
  if (schema.$ref) return exampleOf(api.components.schemas[schema.$ref.split("/").pop()]);
  if (schema.default !== undefined) return schema.default;
  if (schema.anyOf) return exampleOf(schema.anyOf[0]);
  if (schema.enum) return schema.enum[0];
  if (schema.items) return [exampleOf(schema.items)];
  if (schema.type !== "object") return schema.type;
  return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, part]) => [name, exampleOf(part)]));
};

const answers = (operation) =>
  Object.entries(operation.responses).flatMap(([status, answer]) => {
    const found = [make("h4", `${status} ${answer.description ?? ""}`)];
    for (const [media, content] of Object.entries(answer.content ?? {})) {
      found.push(make("p", `${media} ${typeOf(content.schema)}`));
      const example = content.example ?? (media === "application/json" && status < 300 && exampleOf(content.schema));
      if (example) found.push(json(example));
    }
    return found;
  });

const operationView = (method, path, operation) => {
  const view = make("details", "", make("summary", "", make("b", method.toUpperCase()), path));
  view.append(make("p", operation.description ?? operation.summary), json(curl(method, path, operation)));
  const inputs = (operation.parameters ?? []).map((one) => [
    one.name,
    one.in + (one.required ? ", required" : ""),
    typeOf(one.schema),
    one.description ?? "",
  ]);
  const form = operation.requestBody?.content?.["multipart/form-data"]?.schema;
  for (const [name, schema] of Object.entries(form?.properties ?? {})) {
    inputs.push([name, form.required?.includes(name) ? "form, required" : "form", typeOf(schema), schema.description ?? ""]);
  }
  if (inputs.length) view.append(table(["name", "where", "type", "meaning"], inputs));
  view.append(make("h3", "Answers"), ...answers(operation));
  return view;
};

const schemaView = (name, schema) => {
  const view = make("details", "", make("summary", name));
  if (schema.description) view.append(make("p", schema.description));
  const rows = Object.entries(schema.properties ?? {}).map(([key, one]) => [key, typeOf(one), one.description ?? ""]);
  view.append(rows.length ? table(["name", "type", "meaning"], rows) : json(schema.enum ?? schema));
  return view;
};

const api = await (await fetch("/openapi.json")).json();
const place = document.getElementById("operations");
document.getElementById("about").append(...api.info.description.split("\n\n").map((text) => make("p", text.replaceAll("**", ""))));
const groups = new Map();
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    const tag = operation.tags?.[0] ?? "more";
    groups.set(tag, [...(groups.get(tag) ?? []), operationView(method, path, operation)]);
  }
}
for (const [tag, views] of groups) place.append(make("h2", tag), ...views);
place.append(make("h2", "types"), ...Object.entries(api.components.schemas).map(([name, one]) => schemaView(name, one)));
