// How a cell is called with stock gRPC: over mutual TLS with an identity of the mesh, found by asking AHA; or at the unix
// socket of a cell on this machine. Nothing here is Cellmesh's own but the protos.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import type { ProtoGrpcType as RegistryProtos } from "./generated/registry_service";
import type { ProtoGrpcType as StormProtos } from "./generated/storm_service";
import type { StormServiceClient } from "./generated/cellmesh/api/cortex/v1/StormService";
import type { StormResponse__Output } from "./generated/cellmesh/api/cortex/v1/StormResponse";
import type { Instance__Output } from "./generated/cellmesh/api/aha/v1/Instance";
import type { Value__Output } from "./generated/cellmesh/api/common/v1/Value";

const PROTOS = process.env.CELLMESH_PROTOS ?? join(__dirname, "../../../protos");

function load<T>(path: string): T {
  const options = { includeDirs: [PROTOS], keepCase: true, longs: String, enums: String, defaults: true, oneofs: true };
  return grpc.loadPackageDefinition(loadSync(path, options)) as unknown as T;
}

const storm = load<StormProtos>("cellmesh/api/cortex/v1/storm_service.proto").cellmesh.api.cortex.v1;
const aha = load<RegistryProtos>("cellmesh/api/aha/v1/registry_service.proto").cellmesh.api.aha.v1;

/** An identity folder, as `cellmesh enroll` makes it. */
export class Identity {
  readonly registries: string[];
  readonly network: string;

  constructor(private readonly folder: string) {
    const told = JSON.parse(readFileSync(join(folder, "mesh.json"), "utf8"));
    this.registries = told.registry_addresses;
    this.network = told.network;
  }

  credentials(): grpc.ChannelCredentials {
    const read = (name: string) => readFileSync(join(this.folder, name));
    return grpc.credentials.createSsl(read("ca.crt"), read("cell.key"), read("cell.crt"));
  }
}

/** The options of a channel to one cell: its certificate has to be that cell's, wherever it is reached. */
function asCell(name: string): grpc.ClientOptions {
  return { "grpc.ssl_target_name_override": name, "grpc.default_authority": name };
}

/** Ask AHA for the leader of a service, such as "cortex". */
export async function findLeader(identity: Identity, service: string): Promise<Instance__Output> {
  let last: unknown = new Error("the identity knows no AHA");
  for (const address of identity.registries) {
    const name = `aha.${identity.network}`;
    const client = new aha.RegistryService(address, identity.credentials(), asCell(name));
    try {
      const instances = await new Promise<Instance__Output[]>((resolve, reject) =>
        client.GetService({ name: service }, { deadline: Date.now() + 5000 }, (error, answer) =>
          error ? reject(error) : resolve(answer!.instances),
        ),
      );
      const found = instances.find((one) => one.leader) ?? instances[0];
      if (found) return found;
      last = new Error(`AHA knows no ${service}`);
    } catch (error) {
      last = error;
    } finally {
      client.close();
    }
  }
  throw last;
}

/** A client of the Cortex of a mesh, or of the one whose socket is given. */
export async function openCortex(where: { identity?: string; socket?: string }): Promise<StormServiceClient> {
  if (where.socket !== undefined) {
    const options = { "grpc.default_authority": "localhost" };
    return new storm.StormService(`unix:${where.socket}`, grpc.credentials.createInsecure(), options);
  }
  const identity = new Identity(where.identity ?? "");
  const leader = await findLeader(identity, "cortex");
  return new storm.StormService(leader.address, identity.credentials(), asCell(leader.name));
}

export interface StormNode {
  form: string;
  value: unknown;
  props: Record<string, unknown>;
  tags: string[];
}

/** Run a query and yield its nodes as they come; leaving the loop ends the query. Throws when the query fails. */
export async function* nodes(
  client: StormServiceClient,
  text: string,
  vars: Record<string, string> = {},
): AsyncGenerator<StormNode> {
  const values = Object.fromEntries(Object.entries(vars).map(([name, value]) => [name, { string_value: value }]));
  const call = client.Storm({ text, options: { vars: values } });
  try {
    for await (const response of call as AsyncIterable<StormResponse__Output>) {
      for (const message of response.messages) {
        if (message.err) throw new Error(`${message.err.name}: ${message.err.message}`);
        if (!message.node) continue;
        const { form, value, props, tags } = message.node;
        const plain = Object.entries(props).map(([name, one]) => [name, fromValue(one)]);
        yield { form, value: fromValue(value), props: Object.fromEntries(plain), tags: Object.keys(tags).sort() };
      }
    }
  } finally {
    call.cancel();
  }
}

/** A value of the wire as JavaScript has it; integers beyond 2^53 as bigint. */
export function fromValue(value: Value__Output | null | undefined): unknown {
  switch (value?.kind) {
    case "bool_value":
      return value.bool_value;
    case "int_value": {
      const number = Number(value.int_value);
      return Number.isSafeInteger(number) ? number : BigInt(value.int_value!);
    }
    case "big_int_value":
      return BigInt(value.big_int_value!);
    case "double_value":
      return value.double_value;
    case "decimal_value":
      return value.decimal_value;
    case "string_value":
      return value.string_value;
    case "bytes_value":
      return value.bytes_value;
    case "list_value":
      return value.list_value!.items.map(fromValue);
    case "map_value":
      return Object.fromEntries(value.map_value!.entries.map((entry) => [entry.key, fromValue(entry.value)]));
    default:
      return null;
  }
}
