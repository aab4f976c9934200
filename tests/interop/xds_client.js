// A stock grpc-js client: 40 reads, then 20 calls that ask for the leader. Prints who answered, as JSON.
const path = require("path");
const modules = process.env.NODE_MODULES;
const grpc = require(path.join(modules, "@grpc/grpc-js"));
const xds = require(path.join(modules, "@grpc/grpc-js-xds"));
const loader = require(path.join(modules, "@grpc/proto-loader"));

xds.register();
const protos = { includeDirs: [process.env.PROTOS], keepCase: true };
const definition = loader.loadSync("cellmesh/api/common/v1/cell_service.proto", protos);
const { CellService } = grpc.loadPackageDefinition(definition).cellmesh.api.common.v1;
const credentials = new xds.XdsChannelCredentials(grpc.credentials.createSsl());
const client = new CellService("xds:///cryotank", credentials);

function call(metadata) {
  const deadline = Date.now() + 8000;
  return new Promise((resolve) =>
    client.GetCellInfo({}, metadata, { deadline }, (error, answer) =>
      resolve(error ? error.message : answer.cell.name),
    ),
  );
}

async function count(times, metadata) {
  const found = {};
  for (let made = 0; made < times; made++) {
    const name = await call(metadata);
    found[name] = (found[name] || 0) + 1;
  }
  return found;
}

async function main() {
  const leader = new grpc.Metadata();
  leader.set("cellmesh-read", "leader");
  const told = { any: await count(40, new grpc.Metadata()), leader: await count(20, leader) };
  console.log(JSON.stringify(told));
  process.exit(0);
}

main();
