# docker build -t abdobox:latest .              the challenge's image: CUDA, or the CPU without one
# docker build --target cpu -t abdobox:cpu .    without torch, for machines without a GPU
# docker build --target node -t abdobox:node .  the CPU image as a DICOM node (deploy/node.md)
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS cpu
# A folder or address of local wheels; empty means the package index alone.
ARG PIP_FIND_LINKS
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /workspace
COPY requirements-cpu.lock ./
# Bytecode is compiled without the time of this build in it, so that two builds hold equal files.
# openvino-telemetry would write to a home directory and call home; OpenVINO runs without it. Its
# plugins for other devices, its readers of other formats with their Python halves, its converter and
# its C++ headers are never loaded here, nor are NumPy's own tests, nor what Pillow has for web
# pictures and for fonts: it is there for highdicom's colours.
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        --no-compile --require-hashes -r requirements-cpu.lock \
    && pip uninstall -y --root-user-action=ignore openvino-telemetry \
    && cd "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    && rm -rf openvino/include openvino/tools openvino/frontend/*/ && find numpy -depth -type d -name tests -exec rm -rf {} + \
    && rm -rf pydicom/data/test_files PIL/_avif*.so PIL/_webp*.so PIL/_imagingft*.so \
        pillow.libs/libavif* pillow.libs/libwebp* pillow.libs/libsharpyuv* \
        pillow.libs/libfreetype* pillow.libs/libharfbuzz* pillow.libs/libpng* pillow.libs/libbrotli* \
    && python -c 'import json, pathlib; path = pathlib.Path("highdicom/_standard/module_attribute_map.json"); path.write_text(json.dumps(json.loads(path.read_text()), separators=(",", ":")))' \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash . \
    && cd "$(python -c 'import importlib.util as u; print(u.find_spec("openvino").submodule_search_locations[0])')/libs" \
    && rm -f libopenvino_intel_gpu_plugin.so libopenvino_intel_npu_plugin.so cache.json \
        libopenvino_onnx_frontend.so* libopenvino_tensorflow_frontend.so* \
        libopenvino_tensorflow_lite_frontend.so* libopenvino_paddle_frontend.so* \
        libopenvino_pytorch_frontend.so* libopenvino_jax_frontend.so* libopenvino_gguf_frontend.so*
COPY inference ./inference
COPY weights ./weights
COPY predict.sh LICENSE ./
# The pages' viewer, where make page-assets has been run; else only --html is lacking. A pattern may
# match nothing as long as another source is there, and no folder before it has to be.
COPY LICENSE buil[d]/pag[e] ./build/page/
COPY deploy/sbom.py /opt/abdobox/
# Only what is not readable for all: whatever chmod touches is in the image twice.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash inference \
    && python /opt/abdobox/sbom.py weights > /opt/abdobox/sbom.json \
    && mkdir -p inputs outputs \
    && find /workspace /opt/abdobox \( ! -perm -a+r -o -type d ! -perm -a+x \) \
        -exec chmod a+rX {} +

FROM cpu AS node
ARG PIP_FIND_LINKS
COPY requirements-node.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        --no-compile --require-hashes -r requirements-node.lock \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pynetdicom"
COPY node ./node
# Whichever user the container runs as: a new volume takes these rights over.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash node \
    && python /opt/abdobox/sbom.py weights > /opt/abdobox/sbom.json \
    && find node \( ! -perm -a+r -o -type d ! -perm -a+x \) -exec chmod a+rX {} + \
    && mkdir -m 1777 /spool
ENV ABDOBOX_NODE_STORE=/spool
USER 12345:12345
VOLUME /spool
EXPOSE 11112
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('ABDOBOX_NODE_HTTP_PORT') or 8042}/health\", timeout=8)"]
ENTRYPOINT ["python", "-m", "node"]

FROM cpu AS gpu
ARG PIP_FIND_LINKS
# requirements.txt, without hashes, for a torch that the package index does not have.
ARG GPU_REQUIREMENTS=requirements.lock
COPY requirements*.txt requirements*.lock ./
# torch ships some files that are no Python; they stay uncompiled. Nothing here compiles networks
# (triton, torch's own headers).
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        --no-compile -r "$GPU_REQUIREMENTS" \
    && pip uninstall -y --root-user-action=ignore openvino-telemetry triton \
    && rm -rf "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torch/include" \
    && { python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
            "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" || true; } \
    && python /opt/abdobox/sbom.py weights > /opt/abdobox/sbom.json
# Compute only: no graphics libraries are mounted into the container.
# CuPy keeps its kernel in memory: the root file system may be read-only.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility CUPY_CACHE_IN_MEMORY=1
