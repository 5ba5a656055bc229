# The production image: Node's official one instead of the npm package that pins Node for development.
# Runs as a user without rights; only /data is written to, so the root file system may be read-only:
#   docker run --read-only --tmpfs /tmp -v arqonbus-data:/data -p 127.0.0.1:9100:9100 \
#     -e ARQONBUS_SERVER_HOST=0.0.0.0 arqonbus bus
FROM node:24.21.0-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY . .
# The commit, since the context holds no .git: --build-arg BUILD_COMMIT=$(git rev-parse HEAD)
ARG BUILD_COMMIT=
RUN BUILD_COMMIT=$BUILD_COMMIT npm run build

FROM node:24.21.0-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --omit=optional --no-audit --no-fund

FROM node:24.21.0-bookworm-slim
ENV NODE_ENV=production ARQONBUS_DATA_DIR=/data
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json LICENSE README.md ./
COPY bin bin
COPY docs docs
COPY proto proto
COPY policies policies
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 9100 8080 8081 4000 9090
ENTRYPOINT ["node", "/app/bin/arqonbus.mjs"]
CMD ["bus"]
