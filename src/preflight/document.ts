// docs/preflight.md, made from the catalogue. A unit test holds the file to it.
import { createCatalogue, showEffect } from './catalogue.ts'
import { type Check, phases } from './check.ts'
import { coverRunbook, readRunbook } from './runbook-coverage.ts'

/** `runbook` is its text. */
export function preflightDocument(
  catalogue: readonly Check[] = createCatalogue(),
  runbook: string = readRunbook(),
): string {
  const sections = phases.map((phase) => {
    const checks = catalogue.filter((check) => check.phase === phase).sort((a, b) => (a.id < b.id ? -1 : 1))
    return `## Phase ${phase}\n\n${checks.length === 0 ? empty : checks.map(section).join('\n\n')}`
  })
  return `${introduction}\n\n${sections.join('\n\n')}\n\n${runbookSection(catalogue, runbook)}\n`
}

const empty = 'No checks in this version. A production run needs this phase, and is INCONCLUSIVE without it.'

const introduction = `# Preflight

The production runbook (\`docs/ArqonBus/runbooks/production_preflight_runbook.md\`), made executable: before a production
start it says GO or NO-GO, with evidence. Made from the catalogue of checks by \`node scripts/gen-config-docs.ts\`; do not
edit. What each command and checkbox of the runbook became: \`docs/ArqonBus/runbooks/runbook_map.md\`.

## Verdict

- **GO** (exit 0): every check that gates passed or does not apply, and every phase that the profile needs proved something.
- **NO-GO** (exit 20, 21, 22 for blocker, critical, high): a check that gates failed, could not reach an answer, or waits
  on one that did.
- **INCONCLUSIVE** (exit 30): nothing failed, but something that is needed was not run. Absence of proof is never GO.

64 is a wrong call, 65 a file that is wrong (waivers, policy, plug-in, attestation, report), 70 a fault of the preflight
itself, 130 a run that somebody stopped; with \`--json\` each of them is one JSON document all the same. A GO that rests on
approved exceptions says so, \`GO (1 exception)\`: \`docs/waivers.md\`. Advisory checks are shown and never decide. Where one
check waits on another that did not pass, the one at the root is the cause, and the others are counted as blocked.

## Phases

| phase | what it does | when |
|---|---|---|
| static | judges the environment, the package and files; opens no connection | always |
| deps | real probes of Valkey, Postgres, NATS and Ollama, on connections of their own, each in a process that is killed at its deadline | always; \`--read-only\` writes nothing there, \`--offline\` leaves them out |
| gates | a clean install, imports, types, every suite, apart from production (\`docs/gates.md\`) | with \`--gates\` or \`--attestation\` |
| boot | starts this package on loopback with each fault of the runbook: it has to refuse; and without one, on stand-ins of its own: it has to start, carry a payload, and tell when a service is cut off | in staging and prod, when nothing before was a blocker |
| live | speaks to a started system as clients do | with \`--target\` or \`--candidate\` |

Profile dev needs the phases static and live; staging and prod need all five. The rules among the static checks are those
that the servers themselves apply when they start: \`arqonbus bus\` and \`arqonbus shield\` exit with 78 where one of them that
gates fails. In dev most rules do not apply, unless \`ARQONBUS_PREFLIGHT_STRICT=true\`.

\`preflight plan\` shows what would run and what it does to the world, \`run --plan DIGEST\` runs that and nothing else. When a
run fails, evidence and tickets are made (\`docs/incidents.md\`), and the run can be judged again or compared
(\`docs/replay.md\`). A GO becomes a certificate that servers ask for (\`docs/certificate.md\`). \`preflight selftest\` proves that
every check can fail: each is judged in worlds where it has to pass, where it has to fail with a code and a class, with its
probe cut off, and where something is odd and none of its business. Checks of your own: \`docs/preflight-plugins.md\`.

What is planted in a candidate is found by the phase that is meant for it, with all others off. Tests plant each of these in
real programs:

| planted | phase | found by |
|---|---|---|
| a weak secret | static | \`shield.jwt-secret-strong\`; that the servers refuse one, in boot: \`boot.refuses-default-secret\` |
| a suite pointed at production | gates | \`gate.isolated\`, before any suite starts |
| a hollow suite | gates | \`gate.not-hollow\` |
| a health endpoint that is always green | boot | \`boot.health-turns-red\` |
| a Shield that echoes, cut off from NATS | live | \`live.shield-routes-payload\`, and the other checks with an observer on NATS |
| a gateway that says 101 and then closes | live | \`live.shield-rejects-missing-token\`, \`live.shield-rejects-bad-tokens\` |

## What is judged

It is the environment that the service starts with, and in staging and prod \`--env-from\` has to say where
that is: \`systemd:UNIT\` (the unit, its drop-ins, EnvironmentFile=, PassEnvironment=, UnsetEnvironment=),
\`compose:FILE#service\` (environment, env_file, interpolation from the shell and \`.env\`), \`k8s:FILE#container\` (env and
envFrom, with the ConfigMaps and Secrets of the same file), \`file:PATH\` (NAME=VALUE lines), \`pid:N\` (a running process),
or \`process\` for this shell. Findings name the line on which a variable stands. A line that cannot be understood, or a
value that only the cluster or systemd knows, is refused (64) instead of being taken for absent; variables that an image
sets itself are not seen.

The live checks need a started system: \`--target bus=ws://…,http=http://…,telemetry=ws://…,shield=ws://…\`. Where none runs
yet, \`--candidate\` starts bus and Shield of this package when the phase begins, in the judged environment with its stores
and its NATS, on loopback, without TLS of their own, under a permit, and ends them afterwards; a bus that serves on that NATS
already makes the candidate refuse, and has to be named with \`--target\`. Where the candidate does not start, no live check
looks, and each says why (NO_CANDIDATE). The checks use the secrets of the environment
they are given, tokens of two minutes that are never written, and the reserved tenants \`arqon-preflight\` and
\`arqon-preflight-b\`; where the bus asks for no token (dev), the tenant \`default\`. What passes between
Shield and bus is heard on NATS, over a connection of the preflight's own with the user of \`NATS_URL\`: messages on their way
out, and, where that user may hear them, frames on their way in. A gateway's own user may not (\`docs/link.md\`), and need not
for this: \`boot.routes-payload\` hears both on the NATS of the candidate. A running system is never cut off from anything.

A report has a \`canonical\` part, the same for the same system whenever it is judged, with a digest of its own, and
\`observations\`: times, addresses, what was found. No secret stands in either.`

function section(check: Check): string {
  const lines = check.runbook.length === 0 ? 'beyond the runbook' : `runbook ${check.runbook.join(', ')}`
  const needs = check.requires.length === 0 ? '' : `\n- needs: ${check.requires.map((id) => `\`${id}\``).join(', ')}`
  return `<a id="${check.id}"></a>

### ${check.id}

${check.title}. ${check.severity}, class ${check.class}, ${lines}.

- proves: ${check.proves}
- evidence: ${check.evidence}
- fix: ${check.fix}
- applies when: ${check.appliesWhen.name}; deadline ${check.deadlineMs / 1_000} s; ${check.effects.map(showEffect).join('; ')}${needs}`
}

/** Every line of the runbook that states something, and the checks that prove it. */
function runbookSection(catalogue: readonly Check[], runbook: string): string {
  const rows = coverRunbook(runbook, catalogue).lines.map(({ line, text, checks, notYet }) => {
    const proof = checks.map((id) => `[\`${id}\`](#${id})`).join(', ')
    return `| ${line} | ${text.replaceAll('|', '\\|')} | ${proof === '' ? `none: ${notYet ?? 'no reason given'}` : proof} |`
  })
  return `## Runbook lines

Every line of the runbook that states something, and the checks that prove it. A test holds the two to each other: a line
without a check needs a reason in \`src/preflight/runbook-coverage.ts\`, and a reason whose line has a check has to go.

| line | text | checks |
|---|---|---|
${rows.join('\n')}`
}
