// Each check of the Postgres chain is proven by its worlds, and what the parts need is what they say.
import { describe, expect, it } from 'vitest'
import { readMigrations } from '../../../src/postgres/migrations.ts'
import { portsOfWorld } from '../../../src/preflight/healthy-world.ts'
import { connectionsOf, isNeeded, objectsOf, parts, partsInUse } from '../../../src/preflight/postgres/needs.ts'
import { postgresChecks } from '../../../src/preflight/postgres/postgres-checks.ts'
import { proveCheck } from '../../../src/preflight/self-proof.ts'

describe('the Postgres chain', () => {
  it.each(postgresChecks.map((check) => [check.id, check] as const))('%s fails where it has to', (_id, check) => {
    expect(proveCheck(check).faults).toEqual([])
  })

  it('hangs together: each waits on one before it, the first on the configuration', () => {
    const ids = postgresChecks.map(({ id }) => id)
    expect(ids).toHaveLength(10)
    for (const { id, requires } of postgresChecks) {
      if (id === 'dep.postgres.connect') expect(requires).toEqual(['bus.postgres-url-configured'])
      else expect(ids).toContain(requires[0])
      // The lane's tables are a check of their own; where it is on, rights are looked at when they are there.
      expect(requires.slice(1)).toEqual(id === 'dep.postgres.privileges' ? ['projector.migration-applied'] : [])
    }
  })

  it('does not apply where no Postgres is named', () => {
    const named = (env: Record<string, string | undefined>) =>
      postgresChecks[0]!.appliesWhen.test(portsOfWorld({ name: '', env })).holds
    expect(named({})).toBe(true)
    expect(named({ ARQONBUS_POSTGRES_URL: undefined })).toBe(false)
    expect(named({ ARQONBUS_POSTGRES_URL: undefined, ARQONBUS_POSTGRES_HOST: 'db.internal' })).toBe(true)
    expect(named({ ARQONBUS_POSTGRES_URL: undefined, ARQONBUS_STORAGE_BACKEND: 'postgres' })).toBe(true)
  })
})

describe('the needs', () => {
  const inUse = (env: Record<string, string | undefined>) => partsInUse(portsOfWorld({ name: '', env }).ctx)

  it('follow the configuration', () => {
    expect(inUse({})).toEqual(['audit', 'activation'])
    expect(inUse({ ARQONBUS_POSTGRES_MIRROR: 'true' })).toEqual(['audit', 'activation'])
    expect(inUse({ ARQONBUS_PREFLIGHT_PUBLIC_KEY: undefined })).toEqual(['audit'])
    expect(
      inUse({
        ARQONBUS_STORAGE_BACKEND: 'postgres',
        ARQONBUS_POSTGRES_MIRROR: 'true',
        ARQONBUS_PROJECTOR_ENABLED: 'true',
      }),
    ).toEqual(['history', 'mirror', 'audit', 'activation', 'projector'])
  })

  it('name each shipped migration once, and each object once', () => {
    const named = Object.values(parts).flatMap(({ migrations }) => migrations)
    expect([...named].sort()).toEqual(readMigrations().map(({ name }) => name))
    const names = objectsOf(['history', 'projector']).map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
    expect(isNeeded('20260215_history.sql', ['audit'])).toBe(false)
    expect(connectionsOf(['history', 'audit'], 2)).toBe(12)
  })
})
