// What every suite is given, and what it gives back for .bench/results.json.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Chart, plot } from './plot.ts'

export interface SuiteOptions {
  readonly rounds: number
  readonly subscribers: readonly number[]
  readonly sessions: number
  /** Lengths of a stream. */
  readonly lengths: readonly number[]
  /** Stores by name; empty: all that can be opened. */
  readonly stores: readonly string[]
  /** Folder of plots and results. */
  readonly out: string
}

/** Measures, prints, and returns what goes into the results. */
export type Suite = (options: SuiteOptions) => Promise<unknown>

export function writePlot({ out }: SuiteOptions, file: string, chart: Chart): void {
  mkdirSync(out, { recursive: true })
  writeFileSync(join(out, file), plot(chart))
}

export const millions = (value: number): string => (value / 1e6).toFixed(3)
export const thousands = (value: number): string => (value / 1e3).toFixed(1)
