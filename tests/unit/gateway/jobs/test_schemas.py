"""The examples of the fields, put together, are a job that the API could have sent."""

from typing import Any

from gateway.jobs.schemas import JobPage, JobView


def example(schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        return example(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "default" in schema:
        return schema["default"]
    if "anyOf" in schema:
        return example(schema["anyOf"][0], definitions)
    if "items" in schema:
        return [example(schema["items"], definitions)]
    assert "properties" in schema, f"no example: {schema}"
    return {name: example(part, definitions) for name, part in schema["properties"].items()}


def test_the_examples_make_a_job_and_a_page() -> None:
    for model in (JobView, JobPage):
        schema = model.model_json_schema()
        made = example(schema, schema["$defs"])
        assert model.model_validate(made).model_dump(mode="json", exclude_unset=True) == made
