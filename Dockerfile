# docker build -t abdobox:latest .              the challenge's image: CUDA, or the CPU without one
# docker build --target cpu -t abdobox:cpu .    without torch, for machines without a GPU
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS cpu
# A folder or address of local wheels; empty means the package index alone.
ARG PIP_FIND_LINKS
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /workspace
COPY requirements-cpu.txt ./
# openvino-telemetry would write to a home directory and call home; OpenVINO runs without it. Its
# plugins for other devices and its readers of other formats are never loaded here.
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        -r requirements-cpu.txt \
    && pip uninstall -y --root-user-action=ignore openvino-telemetry \
    && cd "$(python -c 'import importlib.util as u; print(u.find_spec("openvino").submodule_search_locations[0])')/libs" \
    && rm -f libopenvino_intel_gpu_plugin.so libopenvino_intel_npu_plugin.so cache.json \
        libopenvino_onnx_frontend.so* libopenvino_tensorflow_frontend.so* \
        libopenvino_tensorflow_lite_frontend.so* libopenvino_paddle_frontend.so* \
        libopenvino_pytorch_frontend.so* libopenvino_jax_frontend.so* libopenvino_gguf_frontend.so*
COPY inference ./inference
COPY weights ./weights
COPY predict.sh LICENSE ./
RUN python -m compileall -q --invalidation-mode unchecked-hash inference \
    && mkdir -p inputs outputs && chmod -R a+rX /workspace

FROM cpu AS gpu
ARG PIP_FIND_LINKS
COPY requirements.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        -r requirements.txt \
    && pip uninstall -y --root-user-action=ignore openvino-telemetry
# Compute only: no graphics libraries are mounted into the container.
# CuPy keeps its kernel in memory: the root file system may be read-only.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility CUPY_CACHE_IN_MEMORY=1
