// Every client the bus answers to, here and behind gateways, by id.
import type { Client } from '../session/client.ts'

export interface ClientRegistry {
  add(client: Client): void
  remove(client: Client): void
  find(id: string): Client | undefined
  all(): Iterable<Client>
  readonly size: number
}

export function createClientRegistry(): ClientRegistry {
  const byId = new Map<string, Client>()
  return {
    add: (client) => void byId.set(client.id, client),
    remove: (client) => void byId.delete(client.id),
    find: (id) => byId.get(id),
    all: () => byId.values(),
    get size() {
      return byId.size
    },
  }
}
