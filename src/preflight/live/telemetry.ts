// live.telemetry-accepts: the telemetry port greets, and shows an event that our own traffic caused.
import { isJsonObject, type JsonObject } from '../../base/json.ts'
import type { CheckPorts, CheckResult } from '../check.ts'
import { createInbox } from './inbox.ts'
import { judged } from './probe-failure.ts'
import { busToken, probeTenant } from './probe-tokens.ts'
import { feed, openSocket, openWireSession, wrong } from './wire-session.ts'

export function checkTelemetry(ports: CheckPorts, signal: AbortSignal): Promise<CheckResult> {
  return judged(async () => {
    const token = await busToken(ports, probeTenant)
    const inbox = createInbox<JsonObject>('telemetry', signal)
    const socket = openSocket(ports.targets.telemetry!, token)
    try {
      feed(socket, inbox, signal, (data) => parseEvent(data.toString('utf8')))
      const greeting = await inbox.first()
      if (greeting['event_type'] !== 'telemetry_connected') {
        throw wrong('telemetry', 'NO_GREETING', `the first event is ${JSON.stringify(greeting['event_type'])}`)
      }
      const session = await openWireSession('bus', ports.targets.bus!, token, ports, signal)
      try {
        const event = await inbox.next((candidate) => candidate['client_id'] === session.clientId)
        return { status: 'pass', observed: `saw ${JSON.stringify(event['event_type'])} of our own connection` }
      } finally {
        session.close()
      }
    } finally {
      socket.terminate()
    }
  })
}

function parseEvent(text: string): JsonObject {
  const value: unknown = JSON.parse(text)
  if (!isJsonObject(value)) throw new TypeError('not a JSON object')
  return value
}
