// The files of the embedded store: the folder and its lock, the schema and its version, and what errors of SQLite mean.
import { chmodSync, closeSync, existsSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { BusError, isBusError } from '../../base/errors.ts'
import { upgradeToBlocks } from './upgrade.ts'

/** Version of the tables below. A file of a higher version is refused. */
export const schemaVersion = 2

// Records are kept in blocks (block.ts), filled in the order of arrival, so that an append writes at the end of a table.
// A block whose records were all trimmed stays, without its frames, until its ids are past their window.
// `streams.last` outlives its records: sequences are never used again.
const blockTables = `
  CREATE TABLE blocks (
    row INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    run INTEGER NOT NULL,
    to_ms INTEGER NOT NULL,
    taken_ms INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    items BLOB NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX blocks_by_sequence ON blocks (stream, last);
  CREATE INDEX blocks_by_time ON blocks (stream, run, to_ms);
  CREATE TABLE frames (row INTEGER PRIMARY KEY, frames BLOB NOT NULL) STRICT;
`
const schema = `
  CREATE TABLE store (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    schema_version INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    forgotten INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE streams (
    row INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    room TEXT NOT NULL,
    channel TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    run INTEGER NOT NULL DEFAULT 0,
    last_ms INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, room, channel)
  ) STRICT;
  ${blockTables}
  CREATE TABLE probe (row INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
`

// A tool that holds the file for a moment (a backup) is waited for, but less long than an append waits for us.
const busyTimeoutMs = 500

// The log is folded into the file at 16 MiB: a page written often is then copied once (a quarter more appends a second
// than at SQLite's 4 MiB).
const checkpointPages = 4_000

const sqliteCode = { busy: 5, locked: 6, ioError: 10, corrupt: 11, full: 13, cannotOpen: 14, notDatabase: 26 } as const

/** The primary result code of an error of SQLite (https://sqlite.org/rescode.html), or undefined for any other error. */
export function sqliteCodeOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return undefined
  return error.errcode & 0xff
}

export function isDamage(error: unknown): boolean {
  const code = sqliteCodeOf(error)
  return code === sqliteCode.corrupt || code === sqliteCode.notDatabase
}

export function isIoError(error: unknown): boolean {
  return sqliteCodeOf(error) === sqliteCode.ioError
}

export function historyFolder(dataDir: string): string {
  return join(dataDir, 'history')
}

export function historyFile(dataDir: string): string {
  return join(historyFolder(dataDir), 'history.db')
}

/** Makes a file that only this user can read; SQLite gives its side files the same mode. Leaves an existing one alone. */
function makePrivateFile(file: string): void {
  // Opening and closing a file that SQLite holds in this process would drop its lock (fcntl), so look first.
  if (!existsSync(file)) closeSync(openSync(file, 'wx', 0o600))
}

function toOpenError(file: string, error: unknown): BusError {
  if (isBusError(error)) return error
  if (isDamage(error)) return damaged(file, 'is damaged', error)
  const message = `${file} cannot be opened; check that the folder exists, is writable by this user and has space left`
  return new BusError('STORE_OPEN_FAILED', message, { reason: 'NOT_ACCESSIBLE', file }, error)
}

function damaged(file: string, what: string, cause?: unknown): BusError {
  const message = `${file} ${what}; restore it from a backup, or move its folder away to begin with an empty history`
  return new BusError('STORE_CORRUPT', message, { reason: 'DAMAGED', file }, cause)
}

/**
 * Takes the folder for this process, until the connection closes or the process ends in whatever way.
 * SQLite's own lock on a file of its own: the system releases it after kill -9.
 */
function lockFolder(dataDir: string): DatabaseSync {
  const file = join(historyFolder(dataDir), 'lock.db')
  makePrivateFile(file)
  const lock = new DatabaseSync(file)
  try {
    // With this mode a lock, once taken, is kept beyond the end of the transaction.
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT')
  } catch (error) {
    lock.close()
    const code = sqliteCodeOf(error)
    if (code !== sqliteCode.busy && code !== sqliteCode.locked) throw toOpenError(file, error)
    const message = `Another process has ${dataDir} open; stop it, or give this one another data folder`
    throw new BusError('STORE_OPEN_FAILED', message, { reason: 'LOCKED', folder: dataDir }, error)
  }
  return lock
}

/** Has a store been made in this folder before? Kept in the lock file, beside the history it speaks of. */
function hasBeenUsed(lock: DatabaseSync): boolean {
  return lock.prepare('PRAGMA user_version').get()?.['user_version'] === 1
}

function connect(file: string, readOnly: boolean): DatabaseSync {
  const db = new DatabaseSync(file, { readOnly, timeout: busyTimeoutMs })
  // 16 MiB of page cache. Memory-mapped reads save a copy of each page.
  db.exec('PRAGMA cache_size = -16384; PRAGMA mmap_size = 268435456')
  return db
}

export interface WriteConnection {
  readonly db: DatabaseSync
  readonly epoch: number
  /** The ids of blocks up to this row are past their window. */
  readonly forgotten: number
  readonly close: () => void
}

export interface OpenOptions {
  readonly dataDir: string
  /** The epoch of the store, should it have to be made. */
  readonly newEpoch: number
  /** The largest the database file may grow; beyond it appends fail as on a full disk. */
  readonly maxFileBytes?: number
}

/** Opens the one connection that writes. Throws STORE_OPEN_FAILED or STORE_CORRUPT. */
export function openForWriting({ dataDir, newEpoch, maxFileBytes }: OpenOptions): WriteConnection {
  const file = historyFile(dataDir)
  let lock: DatabaseSync | undefined
  let db: DatabaseSync | undefined
  try {
    mkdirSync(historyFolder(dataDir), { recursive: true, mode: 0o700 })
    chmodSync(historyFolder(dataDir), 0o700)
    lock = lockFolder(dataDir)
    if (hasBeenUsed(lock) && !existsSync(file)) throw damaged(file, 'is missing, though this folder has held a history')
    makePrivateFile(file)
    db = connect(file, false)
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cell_size_check = ON')
    db.exec(`PRAGMA wal_autocheckpoint = ${checkpointPages}`)
    prepareSchema(db, file, hasBeenUsed(lock), newEpoch)
    lock.exec('PRAGMA user_version = 1')
    if (maxFileBytes !== undefined) {
      const pageSize = Number(db.prepare('PRAGMA page_size').get()?.['page_size'])
      db.exec(`PRAGMA max_page_count = ${Math.floor(maxFileBytes / pageSize)}`)
    }
    const opened = { db, lock }
    const store = db.prepare('SELECT epoch, forgotten FROM store').get()
    const [epoch, forgotten] = [Number(store?.['epoch']), Number(store?.['forgotten'])]
    return { db, epoch, forgotten, close: () => closeAll(opened.db, opened.lock) }
  } catch (error) {
    closeAll(db, lock)
    throw toOpenError(file, error)
  }
}

function closeAll(db: DatabaseSync | undefined, lock: DatabaseSync | undefined): void {
  try {
    db?.close()
  } finally {
    lock?.close()
  }
}

function prepareSchema(db: DatabaseSync, file: string, mustExist: boolean, newEpoch: number): void {
  const tables = Number(db.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.['n'])
  if (tables === 0 && mustExist) throw damaged(file, 'is empty, though this folder has held a history')
  if (tables === 0) {
    db.exec(`BEGIN IMMEDIATE; ${schema}`)
    db.prepare('INSERT INTO store (only, schema_version, epoch) VALUES (1, ?, ?)').run(schemaVersion, newEpoch)
    db.exec('COMMIT')
    return
  }
  const found = Number(readStore(db, file)['schema_version'])
  if (found === schemaVersion) return
  if (found === 1) {
    upgradeToBlocks(db, blockTables)
    return
  }
  const message = `${file} has schema version ${found}, this program knows ${schemaVersion}; use the newer program`
  throw new BusError('STORE_OPEN_FAILED', message, { reason: 'NEWER_SCHEMA', file, found, known: schemaVersion })
}

function readStore(db: DatabaseSync, file: string): Record<string, unknown> {
  const isThere = db.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'store'").get()
  const row = isThere === undefined ? undefined : db.prepare('SELECT * FROM store').get()
  if (row === undefined) throw damaged(file, 'is not a history of this program')
  return row
}

/** Opens a connection that reads beside the writing one and is never in its way (WAL). */
export function openForReading(dataDir: string): DatabaseSync {
  const file = historyFile(dataDir)
  try {
    return connect(file, true)
  } catch (error) {
    throw toOpenError(file, error)
  }
}
