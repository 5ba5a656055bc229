// The one table of commands. A name listed without its command does not compile; docs/commands.md shows this table.
import type { Command } from './command.ts'
import { channelInfo, createChannel, deleteChannel, listChannels, presence } from './commands/channels.ts'
import { history, historyGet, historyReplay } from './commands/history.ts'
import { joinChannel, leaveChannel } from './commands/members.ts'
import {
  deadLetterList,
  deadLetterReplay,
  projectEvent,
  projectorBackfill,
  projectorGet,
  projectorList,
  projectorStatus,
} from './commands/projector.ts'
import { revoke } from './commands/revoke.ts'
import { storeDelete, storeGet, storeList, storeSet } from './commands/store.ts'
import { createHelp, ping, refresh, status } from './commands/system.ts'

export const commandNames = [
  'status',
  'ping',
  'help',
  'auth.refresh',
  'auth.revoke',
  'join_channel',
  'leave_channel',
  'create_channel',
  'delete_channel',
  'list_channels',
  'channel_info',
  'presence',
  'history',
  'op.history.get',
  'history.get',
  'op.history.replay',
  'history.replay',
  'op.store.set',
  'op.store.get',
  'op.store.delete',
  'op.store.list',
  'op.continuum.projector.status',
  'op.continuum.projector.project_event',
  'op.continuum.projector.get',
  'op.continuum.projector.list',
  'op.continuum.projector.dlq.list',
  'op.continuum.projector.dlq.replay',
  'op.continuum.projector.backfill',
] as const

export type CommandName = (typeof commandNames)[number]
export type CommandTable = { readonly [Name in CommandName]: Command }

export const commandTable: CommandTable = {
  status,
  ping,
  help: createHelp(() => commandTable),
  'auth.refresh': refresh,
  'auth.revoke': revoke,
  join_channel: joinChannel,
  leave_channel: leaveChannel,
  create_channel: createChannel,
  delete_channel: deleteChannel,
  list_channels: listChannels,
  channel_info: channelInfo,
  presence,
  history,
  'op.history.get': historyGet,
  'history.get': historyGet,
  'op.history.replay': historyReplay,
  'history.replay': historyReplay,
  'op.store.set': storeSet,
  'op.store.get': storeGet,
  'op.store.delete': storeDelete,
  'op.store.list': storeList,
  'op.continuum.projector.status': projectorStatus,
  'op.continuum.projector.project_event': projectEvent,
  'op.continuum.projector.get': projectorGet,
  'op.continuum.projector.list': projectorList,
  'op.continuum.projector.dlq.list': deadLetterList,
  'op.continuum.projector.dlq.replay': deadLetterReplay,
  'op.continuum.projector.backfill': projectorBackfill,
}

/** Looks up text a client sent; `constructor` and `__proto__` are just names that are not there. */
export function findCommand(name: string): Command | undefined {
  return Object.hasOwn(commandTable, name) ? commandTable[name as CommandName] : undefined
}
