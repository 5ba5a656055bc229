// Metrics in the Prometheus text format. The only importer of prom-client; a registry of its own, nothing global.
// Label values must come from fixed sets: a registry holds 1,000 series, and what would be more is counted as `other`.
import { Counter as PromCounter, Gauge as PromGauge, Histogram as PromHistogram, Registry } from 'prom-client'

export type Labels = Readonly<Record<string, string>>

export interface Counter {
  inc(labels?: Labels, by?: number): void
}
export interface Gauge {
  set(value: number): void
}
export interface Histogram {
  observe(value: number, labels?: Labels): void
}

/** Names are `arqonbus_…` or `shield_…`; registering one twice, or another name, throws (a bug of ours). */
export interface Metrics {
  readonly prefix: 'arqonbus' | 'shield'
  counter(name: string, help: string, labelNames?: readonly string[]): Counter
  /** With `collect`, the value is read at each scrape. */
  gauge(name: string, help: string, collect?: () => number): Gauge
  /** `buckets` are upper bounds, rising; seconds for durations. */
  histogram(name: string, help: string, buckets: readonly number[], labelNames?: readonly string[]): Histogram
  /** For hot paths: they add to a plain number, which is read at each scrape. */
  counterFrom(name: string, help: string, read: () => number): void
  /** The same with one label: values by label value, from a fixed set. */
  countersFrom(name: string, help: string, label: string, read: () => Readonly<Record<string, number>>): void
  gaugesFrom(name: string, help: string, label: string, read: () => Readonly<Record<string, number>>): void
  /** The exposition; its type is `contentType`. A `read` that throws is left out and counted. */
  text(): Promise<string>
  readonly contentType: string
}

const maxSeries = 1_000
const nameForm = /^(?:arqonbus|shield)_[a-z][a-z0-9_]*$/
const overflow = 'other'

/** `prefix` is that of the program's names, used by parts that serve several programs. */
export function createMetrics(prefix: Metrics['prefix'] = 'arqonbus'): Metrics {
  const registry = new Registry()
  let series = 0
  let collectErrors = 0

  /** Admits label sets of one metric, of which each makes `cost` series; what does not fit becomes `other`. */
  function guard(labelNames: readonly string[], cost: number): (labels: Labels) => Labels {
    const known = new Set<string>()
    const other = Object.fromEntries(labelNames.map((name) => [name, overflow]))
    return (labels) => {
      let key = ''
      for (const name of labelNames) key += `${labels[name] ?? ''}\n`
      if (known.has(key)) return labels
      if (series + cost > maxSeries) return other
      series += cost
      known.add(key)
      return labels
    }
  }

  function options(name: string, help: string): { name: string; help: string; registers: Registry[] } {
    if (!nameForm.test(name)) throw new TypeError(`metric name ${name} is not arqonbus_… or shield_…`)
    return { name, help, registers: [registry] }
  }

  function collected(read: () => void): () => void {
    return () => {
      try {
        read()
      } catch {
        collectErrors++ // one broken reader must not hide all other metrics
      }
    }
  }

  function counterFrom(name: string, help: string, read: () => number): void {
    const counter: PromCounter = new PromCounter({
      ...options(name, help),
      collect: collected(() => {
        const value = read()
        counter.reset()
        counter.inc(value)
      }),
    })
  }

  counterFrom(`${prefix}_metrics_collect_errors_total`, 'Readers of metrics that threw', () => collectErrors)

  return {
    prefix,
    contentType: registry.contentType,
    text: () => registry.metrics(),
    counter(name, help, labelNames = []) {
      const counter = new PromCounter({ ...options(name, help), labelNames: [...labelNames] })
      if (labelNames.length === 0) return { inc: (_labels, by = 1) => counter.inc(by) }
      const admit = guard(labelNames, 1)
      return { inc: (labels = {}, by = 1) => counter.inc(admit(labels), by) }
    },
    gauge(name, help, collect) {
      const gauge: PromGauge = new PromGauge({
        ...options(name, help),
        ...(collect !== undefined && { collect: collected(() => gauge.set(collect())) }),
      })
      return { set: (value) => gauge.set(value) }
    },
    histogram(name, help, buckets, labelNames = []) {
      const histogram = new PromHistogram({
        ...options(name, help),
        buckets: [...buckets],
        labelNames: [...labelNames],
      })
      if (labelNames.length === 0) return { observe: (value) => histogram.observe(value) }
      const admit = guard(labelNames, buckets.length + 3)
      return { observe: (value, labels = {}) => histogram.observe(admit(labels), value) }
    },
    counterFrom,
    countersFrom(name, help, label, read) {
      const admit = guard([label], 1)
      const counter: PromCounter = new PromCounter({
        ...options(name, help),
        labelNames: [label],
        collect: collected(() => {
          const values = Object.entries(read())
          counter.reset()
          for (const [key, value] of values) counter.inc(admit({ [label]: key }), value)
        }),
      })
    },
    gaugesFrom(name, help, label, read) {
      const admit = guard([label], 1)
      const gauge: PromGauge = new PromGauge({
        ...options(name, help),
        labelNames: [label],
        collect: collected(() => {
          const values = Object.entries(read())
          gauge.reset()
          for (const [key, value] of values) gauge.set(admit({ [label]: key }), value)
        }),
      })
    },
  }
}
