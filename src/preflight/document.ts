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

64 is a wrong call, 65 a file of waivers or a policy that is wrong, 70 a fault of the preflight itself. A GO that rests on
approved exceptions says so, \`GO (1 exception)\`: \`docs/waivers.md\`. Advisory checks are shown and never decide.

Profile dev needs the phases static and live; staging and prod need all five. The static checks are the rules that the
servers themselves apply when they start: \`arqonbus bus\` and \`arqonbus shield\` exit with 78 where a check of theirs that
gates fails. In dev most rules do not apply, unless \`ARQONBUS_PREFLIGHT_STRICT=true\`.

What is judged is the environment that the service starts with, and in staging and prod \`--env-from\` has to say where
that is: \`systemd:UNIT\` (the unit, its drop-ins, EnvironmentFile=, PassEnvironment=, UnsetEnvironment=),
\`compose:FILE#service\` (environment, env_file, interpolation from the shell and \`.env\`), \`k8s:FILE#container\` (env and
envFrom, with the ConfigMaps and Secrets of the same file), \`file:PATH\` (NAME=VALUE lines), \`pid:N\` (a running process),
or \`process\` for this shell. Findings name the line on which a variable stands. A line that cannot be understood, or a
value that only the cluster or systemd knows, is refused (64) instead of being taken for absent; variables that an image
sets itself are not seen.

The live checks need a started system: \`--target bus=ws://…,http=http://…,telemetry=ws://…,shield=ws://…\`. They use the
secrets of the environment they are given, tokens of two minutes that are never written, and the reserved tenants
\`arqon-preflight\` and \`arqon-preflight-b\`; where the bus asks for no token (dev), the tenant \`default\`.

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
