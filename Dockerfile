# Serves models/model.keras: `docker build -t model .`, `docker run -p 127.0.0.1:8000:8000 model`
# The digest of all platforms, renewed by what `docker buildx imagetools inspect python:3.11-slim`
# prints as Digest.
FROM python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7
WORKDIR /srv
COPY requirements.txt requirements-serve.txt ./
RUN pip install --no-cache-dir --compile --require-hashes \
    -r requirements.txt -r requirements-serve.txt
COPY tabular tabular
COPY commands commands
COPY models/model.keras .
USER nobody
ENV TF_CPP_MIN_LOG_LEVEL=3
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", \
    "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["python", "-m", "keras_tabular", "serve", "model.keras", "--host", "0.0.0.0"]
