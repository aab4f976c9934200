// node dist/main.js (--identity FOLDER | --socket PATH) QUERY [NAME=VALUE ...]: the nodes of a query, as JSON lines.
import { parseArgs } from "node:util";
import { nodes, openCortex } from "./cellmesh";

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { identity: { type: "string" }, socket: { type: "string" } },
    allowPositionals: true,
  });
  const [text, ...given] = positionals;
  if (text === undefined || (values.identity === undefined) === (values.socket === undefined)) {
    throw new Error("usage: main.js (--identity FOLDER | --socket PATH) QUERY [NAME=VALUE ...]");
  }
  const vars = Object.fromEntries(given.map((one) => one.split(/=(.*)/s).slice(0, 2)));
  const client = await openCortex(values);
  try {
    for await (const node of nodes(client, text, vars)) {
      console.log(JSON.stringify(node, (_, value) => (typeof value === "bigint" ? value.toString() : value)));
    }
  } finally {
    client.close();
  }
}

main().catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
