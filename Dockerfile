# docker build -t cocu .
# docker run --rm -v "$PWD:/work" cocu index build 'shards/*.tar' --model miniature --out runs/index
#
# One image for both: PyTorch of the package index brings CUDA, and runs without. With an NVIDIA card: --gpus all.
#
# The steps are those of README.md, "Install". A test compares them; the image itself was not built in the making.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

WORKDIR /opt/cocu
COPY pyproject.toml constraints.txt requirements-pipeline.txt README.md LICENSE cocu.py ./
COPY cli cli
COPY curation curation
COPY data_cards data_cards
COPY evaluation evaluation
COPY files files
COPY training training

RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements-pipeline.txt
RUN pip install --no-cache-dir -c constraints.txt '.[explore,s3,gcs,http]'

RUN useradd --create-home cocu
USER cocu
WORKDIR /work
ENTRYPOINT ["cocu"]
