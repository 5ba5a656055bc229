// Codes a probe can stop with instead of facts: what they mean, whose fault they are (preflight 2.0) and what to do.
// `fail`: the other side answered, and the answer is no. `error`: there was no answer; it gates all the same.
import type { FaultClass } from '../rules/rule.ts'
import type { CheckResult, Stopped } from './check.ts'

interface Meaning {
  readonly status: 'fail' | 'error'
  readonly class: FaultClass
  readonly fix: string
}

const no = (fault: FaultClass, fix: string): Meaning => ({ status: 'fail', class: fault, fix })
const silence = (fault: FaultClass, fix: string): Meaning => ({ status: 'error', class: fault, fix })

export const stops: Readonly<Record<string, Meaning>> = {
  // The way there.
  ENOTFOUND: no('dependency', 'correct the host name, or the name service that should know it'),
  EAI_AGAIN: silence('dependency', 'the name service did not answer; look at /etc/resolv.conf and try again'),
  ECONNREFUSED: no('dependency', 'start the service there, or correct the address'),
  ECONNRESET: no('dependency', 'something there takes connections and drops them: a proxy, or another protocol'),
  EPIPE: no('dependency', 'something there takes connections and drops them: a proxy, or another protocol'),
  EHOSTUNREACH: no('dependency', 'there is no way to that host: look at routes and firewalls'),
  ENETUNREACH: no('dependency', 'there is no way to that network: look at routes and firewalls'),
  ENOENT: no('dependency', 'there is no such socket: start the service, or correct the path'),
  ETIMEDOUT: silence('dependency', 'no answer to the connection: a firewall that drops, or a host that is gone'),
  NO_ANSWER: silence(
    'dependency',
    'the service takes connections and does not answer: restart it, then look at its log',
  ),
  DEADLINE: silence('dependency', 'the service is slower than this check may take: look at its load and its log'),
  RUN_DEADLINE: silence('unknown', 'give the run more time (--timeout), or see which check took it'),
  HUNG_UP: no('dependency', 'the service ended the connection: look at its log'),
  NOT_THE_PROTOCOL: no('config', 'another service answers there: correct the address'),
  OLD_PROTOCOL: no('dependency', 'the service is too old for the protocol that we speak: renew it'),
  BAD_ADDRESS: no('config', 'correct the address: its scheme, or how it is written'),
  // Transport security.
  TLS_NAME: no('config', 'the certificate is for another name: use that name in the address, or renew the certificate'),
  TLS_UNTRUSTED: no('config', 'add the authority that signed the certificate (NODE_EXTRA_CA_CERTS), or renew it'),
  TLS_EXPIRED: no('dependency', 'renew the certificate'),
  TLS_NOT_YET_VALID: no('dependency', 'the certificate is not valid yet: look at the clocks, or at the certificate'),
  TLS_REFUSED: no('config', 'TLS was refused: does the service speak TLS on that port?'),
  TLS_REQUIRED: no('config', 'the service asks for TLS: use the TLS form of the address'),
  // Who we are there.
  AUTH_REFUSED: no('config', 'the user or password in the address is not the one of the service'),
  AUTH_REQUIRED: no('config', 'the service asks for a user or password: put them into the address'),
  NO_DATABASE: no('config', 'there is no such database: create it, or correct the address'),
  NO_PERMISSION: no('config', 'grant the right that is named'),
  FOLDER_UNREADABLE: no('config', 'name a folder that the process may read'),
  // What it can do now.
  STARTING: no('dependency', 'the service is starting or recovering: wait (--wait 120s)'),
  LOADING: no('dependency', 'the service is loading its data: wait (--wait 120s)'),
  LOCAL_ONLY: no('config', 'the service takes local connections only (protected mode): give it a password'),
  NO_WRITER: no('dependency', 'this one lost its writer, or the cluster is down: look at its replication'),
  NO_REPLICAS: no('dependency', 'the service wants replicas before it takes writes: bring them back'),
  SAVES_FAIL: no('dependency', 'the service cannot save and so takes no writes: look at its log and its disk'),
  BUSY: no('dependency', 'the service runs a script that does not end: look at its log, SCRIPT KILL'),
  READ_ONLY: no('dependency', 'this one takes no writes: point the address at the writer'),
  OUT_OF_MEMORY: no('dependency', 'raise the memory limit of the service, or free some'),
  DISK_FULL: no('dependency', 'free disk space at the service'),
  TOO_MANY_CONNECTIONS: no('dependency', 'the service takes no more connections: raise its limit, or close some'),
  LOCKED: no('dependency', 'another transaction holds what this needs: find it, and end it'),
  NO_JETSTREAM: no(
    'dependency',
    'switch JetStream on: nats-server -js, or jetstream {} in its configuration, and for the account',
  ),
  NO_STREAM: no('config', 'make the stream that is named, or correct its subjects'),
  SERVER_ERROR: no('dependency', 'the service refused for a reason of its own: look at its log'),
  MALFORMED: silence('dependency', 'the answer makes no sense: is it the service that the address should name?'),
  // A started system, spoken to as a client.
  NO_SECRET: no('config', 'set the secret that the running system verifies tokens with'),
  UPGRADE_REFUSED: no('config', 'compare JWT_SECRET here with that of the running system, and the clocks'),
  UNREADABLE_FRAME: no('regression', 'what was sent is no frame of ours: does the target run this version?'),
  NO_WELCOME: no('regression', 'the first frame has to be the welcome: look at the log of the target'),
  JOIN_REFUSED: no('regression', 'a channel could not be joined: look at the log of the target'),
  PUBLISH_REFUSED: no('regression', 'a message was not taken: look at the log of the target'),
  CLOSED: no('dependency', 'the target ended the connection: look at its log'),
  // This installation, and other runs.
  RUNBOOK_MISSING: no('regression', 'install the package again: the runbook is part of it'),
  MANIFEST_MISSING: no('regression', 'install the package again: catalogue-manifest.json is part of it'),
  RUN_LOCKED: no('dependency', 'another preflight of the same services runs: wait for it (--wait 120s)'),
  LOCK_UNWRITABLE: silence('dependency', 'make ARQONBUS_DATA_DIR, or the folder for temporary files, writable'),
  // Gates.
  REGISTRY_UNREACHABLE: silence('dependency', 'the registry did not answer: look at the network, or fill the cache'),
  NO_INSTALLER: no('dependency', 'install npm beside Node, or put it on PATH'),
  SUITES_UNREADABLE: no('regression', 'correct preflight.gates.json (docs/gates.md)'),
  COUNTS_UNREADABLE: no('config', 'repair preflight-gates.json in ARQONBUS_DATA_DIR, or take it away to begin anew'),
  COUNTS_UNWRITABLE: silence('dependency', 'make ARQONBUS_DATA_DIR writable'),
  // Plug-ins.
  PLUGIN_OUTPUT: silence('regression', 'the plug-in wrote something that is no line of the protocol: correct it'),
  PLUGIN_ANSWERS: silence('regression', 'the plug-in gave more than one answer: correct it'),
  PLUGIN_SILENT: silence('regression', 'the plug-in ended without an answer: correct it'),
  PLUGIN_EXIT: silence('regression', 'the plug-in ended with a failure: look at what it wrote to standard error'),
  PLUGIN_TOO_LOUD: silence('regression', 'the plug-in wrote more than 1 MiB: correct it'),
  PLUGIN_LATE: silence('regression', 'the judge of the plug-in took too long: it has nothing to wait for'),
  PLUGIN_LEAK: silence('regression', 'the plug-in put a secret into its answer: correct it, then change the secret'),
  PLUGIN_CHANGED: silence('regression', 'the file of the plug-in is not the one that the policy lists any more'),
  // A candidate started for proof.
  NO_STAND_IN: silence(
    'dependency',
    'install redis-server or valkey-server, postgres and nats-server where the preflight runs: the candidate gets them in place of production’s',
  ),
  STAND_IN_FAILED: silence('dependency', 'start that program by hand: it has to run in a temporary folder on loopback'),
  NO_CANDIDATE: silence(
    'regression',
    'mend what kept the candidate from starting; boot.starts-from-clean-tree starts one too',
  ),
  NO_FREE_PORT: silence('dependency', 'free some ports of the loopback address from 20000 to 32700'),
  NO_PROCFS: silence('dependency', 'run the boot proofs on Linux, with /proc: they look for sockets there'),
  // Ours.
  THREW: silence('unknown', 'a fault of the preflight: report it with the incident bundle'),
  PROBE_DIED: silence('unknown', 'the process that looked has died: report it with the incident bundle'),
  BAD_FACTS: silence('unknown', 'a fault of the preflight: report it with the incident bundle'),
}

/** Thrown by probes. */
export class ProbeStop extends Error {
  readonly stopped: Stopped

  constructor(code: string, observed: string, step?: string) {
    super(`${code}: ${observed}`)
    this.name = 'ProbeStop'
    this.stopped = { code, observed, ...(step !== undefined && { step }) }
  }
}

/** `variable` names what the operator can change; `hints` are the check's own words. */
export function judgeStop(
  { code, step, observed }: Stopped,
  variable: string,
  hints: Readonly<Record<string, string>> = {},
): CheckResult {
  const meaning = stops[code] ?? silence('unknown', 'look at what was observed')
  const found = step === undefined ? observed : `${step}: ${observed}`
  if (meaning.status === 'error') return { status: 'error', code, observed: found, class: meaning.class }
  const fix = hints[code] ?? meaning.fix
  return { status: 'fail', findings: [{ code, variable, found, fix }], class: meaning.class }
}

/** What a socket's, a resolver's or TLS' error code is called here; undefined for one that is none of theirs. */
export function stopCodeOf(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined
  if (code === undefined) return undefined
  if (Object.hasOwn(stops, code)) return code
  return tlsCodes[code] ?? (code.startsWith('ERR_SSL_') ? 'TLS_REFUSED' : undefined)
}

const tlsCodes: Readonly<Record<string, string>> = {
  ERR_TLS_CERT_ALTNAME_INVALID: 'TLS_NAME',
  CERT_HAS_EXPIRED: 'TLS_EXPIRED',
  CERT_NOT_YET_VALID: 'TLS_NOT_YET_VALID',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'TLS_UNTRUSTED',
  UNABLE_TO_GET_ISSUER_CERT: 'TLS_UNTRUSTED',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'TLS_UNTRUSTED',
  SELF_SIGNED_CERT_IN_CHAIN: 'TLS_UNTRUSTED',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'TLS_UNTRUSTED',
  EPROTO: 'TLS_REFUSED',
}
