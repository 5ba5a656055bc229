// Worlds of an event that is followed into the tables.
import type { FailingWorld, World, Worlds } from '../check.ts'

const good = {
  isProjected: true,
  isFollowed: true,
  copies: 1,
  isSame: true,
  shown: 'last',
  deadLetters: 0,
  mayClear: true,
  left: 0,
}
type Facts = typeof good

const at = {
  targets: 'bus=ws://10.0.0.5:9100,shield=ws://10.0.0.5:4000',
  env: { ARQONBUS_PROJECTOR_ENABLED: 'true', ARQONBUS_ENABLE_PERSISTENCE: 'true' },
}
const world = (name: string, changes: Partial<Facts> = {}): World<Facts> & { facts: Facts } => ({
  ...at,
  name,
  facts: { ...good, ...changes },
})
const fails = (name: string, codes: string, changes: Partial<Facts>): FailingWorld<Facts> => ({
  ...world(name, changes),
  expect: { code: codes.split(' ')[0]!, findings: codes.split(' ').map((code) => `projector ${code}`) },
})
const nothing = { copies: 0, isSame: false, shown: 'none' }
const lacking = (name: string, env: World['env']): World<Facts> => ({ ...at, name, env: { ...at.env, ...env } })

export const projectionWorlds: Worlds<Facts> = {
  passes: [world('once, the newest, and gone')],
  fails: [
    fails('nothing arrives', 'NOT_PROJECTED', { ...nothing, isProjected: false, isFollowed: false }),
    fails('nothing arrives but a dead letter', 'NOT_PROJECTED SET_ASIDE', {
      ...nothing,
      isProjected: false,
      isFollowed: false,
      deadLetters: 1,
    }),
    fails('nothing comes after the repeated one', 'STOPPED', { isFollowed: false, shown: 'first' }),
    fails('twice', 'WRONG_COUNT', { copies: 2 }),
    fails('gone again', 'WRONG_COUNT CHANGED', { copies: 0, isSame: false }),
    fails('another event', 'CHANGED', { isSame: false }),
    fails('the episode shows the first', 'NOT_NEWEST', { shown: 'first' }),
    fails('the episode shows nothing', 'NOT_NEWEST', { shown: 'none' }),
    fails('the repeated one is a dead letter', 'SET_ASIDE', { deadLetters: 1 }),
    fails('a row comes after it was deleted', 'LEFT_BEHIND', { left: 1 }),
    {
      ...at,
      name: 'Shield takes no event',
      stopped: { code: 'PUBLISH_REFUSED', observed: 'as seen', step: 'shield' },
      expect: { code: 'PUBLISH_REFUSED', class: 'regression' },
    },
    {
      ...at,
      name: 'Postgres gives no right to read',
      stopped: { code: 'NO_PERMISSION', observed: 'as seen', step: 'query' },
      expect: { code: 'NO_PERMISSION', class: 'config' },
    },
  ],
  ignores: [world('its user may delete no events', { mayClear: false })],
  skips: [
    lacking('the projector is off', { ARQONBUS_PROJECTOR_ENABLED: 'false' }),
    lacking('no history', { ARQONBUS_ENABLE_PERSISTENCE: 'false' }),
    { ...at, name: 'no target', targets: 'bus=ws://10.0.0.5:9100' },
    lacking('tokens by key pair', { ARQONBUS_AUTH_JWT_ALGORITHM: 'RS256' }),
  ],
}
