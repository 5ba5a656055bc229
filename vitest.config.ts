// Five suites and the soak, each a project, `e2e` two; which suite a test belongs to is decided by what it touches
// (docs/testing.md).
import { defineConfig } from 'vitest/config'

const suite = (name: string, testTimeout: number, extra: object = {}) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout,
    hookTimeout: 30_000,
    pool: 'forks' as const,
    ...extra,
  },
})

/** Programs under load, and storms: each uses both cores itself, so these run one after the other. */
const loadTests = ['test/e2e/{chaos,durability,tenants}/**/*.test.ts', 'test/e2e/nats/{faults,storm}.test.ts']
const globalSetup = 'test/support/servers/install-neighbours.ts'

export default defineConfig({
  test: {
    // Files of the suites that may run beside each other wait for servers most of the time: three keep two cores busy.
    maxWorkers: 3,
    projects: [
      suite('unit', 10_000),
      suite('integration', 30_000, { globalSetup }),
      suite('e2e', 120_000, { exclude: loadTests, globalSetup }),
      suite('e2e-load', 120_000, { include: loadTests, fileParallelism: false, globalSetup }),
      suite('regression', 30_000),
      suite('adversarial', 120_000, { fileParallelism: false }),
      suite('soak', 3_600_000, { fileParallelism: false, globalSetup }),
    ],
    coverage: { provider: 'v8', include: ['src/**'], exclude: ['src/wire/generated/**'] },
  },
})
