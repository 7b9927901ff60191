# CPU:          docker build -t satxlate .
# NVIDIA GPU:   docker build --build-arg EXTRAS=gpu -t satxlate:gpu .     (CUDA comes with jax; the host has the driver)
#               docker run --rm --gpus all -v "$PWD:/work" satxlate:gpu satxlate train --config=configs/base_flow.py ...
# EXTRAS: extras of pyproject.toml, such as gpu,l1b.
FROM python:3.13-slim AS wheel
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel /source

FROM python:3.13-slim
ARG EXTRAS=""
# It is a file that is installed, which has no version to pin.
# hadolint ignore=DL3013
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    set -- /wheel/*.whl && pip install --no-cache-dir "$1${EXTRAS:+[$EXTRAS]}"
RUN useradd --create-home --uid 1000 satxlate && install --directory --owner=1000 /work
USER 1000
WORKDIR /work
CMD ["satxlate", "--help"]
