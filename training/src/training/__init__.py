import model_worker  # noqa: F401  (switches ONNX Runtime's usage reports off before that is loaded)
