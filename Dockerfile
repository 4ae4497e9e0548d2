# docker build -t cocu .                               CPU
# docker build -t cocu --build-arg DEVICE=cuda .       NVIDIA; run it with --gpus all
# docker run --rm -v "$PWD:/work" cocu index build 'shards/*.tar' --model miniature --out runs/index
#
# The steps are those of README.md, "Install". A test compares them; the image itself was not built in the making.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim
ARG DEVICE=cpu

WORKDIR /opt/cocu
COPY pyproject.toml constraints.txt requirements-pipeline.txt README.md LICENSE cocu.py ./
COPY cli cli
COPY curation curation
COPY data_cards data_cards
COPY evaluation evaluation
COPY files files
COPY training training

# PyTorch of the package index brings CUDA; its own index has wheels without, `VERSION+cpu`, which pip prefers.
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements-pipeline.txt
RUN case "${DEVICE}" in \
      cpu) export PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu ;; \
      cuda) ;; \
      *) echo "DEVICE is cpu or cuda, not ${DEVICE}" >&2; exit 2 ;; \
    esac; \
    pip install --no-cache-dir -c constraints.txt '.[explore,s3,gcs,http]'

RUN useradd --create-home cocu
USER cocu
WORKDIR /work
ENTRYPOINT ["cocu"]
