// A history file as schema 1 laid it out: a row for each record, and one for each remembered id.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

export interface OldStream {
  readonly channel: string
  readonly records: readonly { sequence: number; id: string; atMs: number; frame: Uint8Array }[]
  readonly remembered: readonly { sequence: number; id: string; hash: Uint8Array; atMs: number }[]
}

export async function writeOldHistory(dataDir: string, epoch: number, streams: readonly OldStream[]): Promise<void> {
  await mkdir(join(dataDir, 'history'))
  const db = new DatabaseSync(join(dataDir, 'history', 'history.db'))
  db.exec(`
    PRAGMA journal_mode = WAL;
    CREATE TABLE store (
      only INTEGER PRIMARY KEY CHECK (only = 1), schema_version INTEGER NOT NULL, epoch INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE streams (
      row INTEGER PRIMARY KEY, tenant TEXT NOT NULL, room TEXT NOT NULL, channel TEXT NOT NULL,
      first INTEGER NOT NULL, last INTEGER NOT NULL, bytes INTEGER NOT NULL, UNIQUE (tenant, room, channel)
    ) STRICT;
    CREATE TABLE records (
      row INTEGER PRIMARY KEY, stream INTEGER NOT NULL, sequence INTEGER NOT NULL, at_ms INTEGER NOT NULL,
      id TEXT NOT NULL, sender TEXT NOT NULL, frame BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX records_by_sequence ON records (stream, sequence);
    CREATE INDEX records_by_time ON records (stream, at_ms);
    CREATE TABLE remembered (
      row INTEGER PRIMARY KEY, stream INTEGER NOT NULL, id TEXT NOT NULL, sequence INTEGER NOT NULL,
      hash BLOB NOT NULL, at_ms INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX remembered_by_id ON remembered (stream, id);
    CREATE TABLE probe (row INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
  `)
  db.prepare('INSERT INTO store VALUES (1, 1, ?)').run(epoch)
  const insertStream = db.prepare(
    "INSERT INTO streams (tenant, room, channel, first, last, bytes) VALUES ('acme', 'lobby', ?, ?, ?, ?)",
  )
  const insertRecord = db.prepare(
    "INSERT INTO records (stream, sequence, at_ms, id, sender, frame) VALUES (?, ?, ?, ?, 'sender', ?)",
  )
  const insertRemembered = db.prepare(
    'INSERT INTO remembered (stream, id, sequence, hash, at_ms) VALUES (?, ?, ?, ?, ?)',
  )
  db.exec('BEGIN')
  for (const { channel, records, remembered } of streams) {
    const last = Math.max(...records.map(({ sequence }) => sequence), ...remembered.map(({ sequence }) => sequence))
    const bytes = records.reduce((sum, { frame }) => sum + frame.length, 0)
    const row = insertStream.run(channel, records[0]?.sequence ?? last + 1, last, bytes).lastInsertRowid
    for (const { sequence, atMs, id, frame } of records) insertRecord.run(row, sequence, atMs, id, frame)
    for (const { id, sequence, hash, atMs } of remembered) insertRemembered.run(row, id, sequence, hash, atMs)
  }
  db.exec('COMMIT')
  db.close()
}
