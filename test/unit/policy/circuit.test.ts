// When a policy that keeps failing is left alone, and when it is tried again.
import { describe, expect, it } from 'vitest'
import { Circuit } from '../../../src/policy/circuit.ts'

function openedAt(nowMs: number): Circuit {
  const circuit = new Circuit()
  for (let i = 0; i < 5; i++) circuit.failed(nowMs)
  return circuit
}

describe('a circuit', () => {
  it('opens at the fifth failure, and says so once', () => {
    const circuit = new Circuit()
    expect([1, 2, 3, 4, 5].map(() => circuit.failed(0))).toEqual([false, false, false, false, true])
    expect(circuit.isOpen).toBe(true)
    expect(circuit.admits(() => 999)).toBe(false)
  })

  it('stays closed while one in more than ten fails', () => {
    const circuit = new Circuit()
    for (let i = 0; i < 100; i++) {
      expect(circuit.failed(i)).toBe(false)
      for (let ok = 0; ok < 12; ok++) circuit.succeeded()
    }
    expect(circuit.admits(() => 100)).toBe(true)
  })

  it('forgets failures that are ten seconds old', () => {
    const circuit = new Circuit()
    for (let i = 0; i < 20; i++) expect(circuit.failed(i * 2_600)).toBe(false)
  })

  it('tries one frame after the wait, and closes when that is decided', () => {
    const circuit = openedAt(0)
    expect(circuit.admits(() => 1_000)).toBe(true)
    expect(circuit.admits(() => 1_000)).toBe(false)
    circuit.succeeded()
    expect(circuit.isOpen).toBe(false)
    expect(circuit.admits(() => 1_000)).toBe(true)
  })

  it('waits twice as long after each try that fails, at most thirty seconds', () => {
    const circuit = openedAt(0)
    let now = 0
    const waits: number[] = []
    for (let i = 0; i < 8; i++) {
      const from = now
      while (!circuit.admits(() => now)) now += 500
      waits.push(now - from)
      expect(circuit.failed(now)).toBe(false)
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000])
  })

  it('never opens where it is off', () => {
    const circuit = new Circuit(true)
    for (let i = 0; i < 50; i++) expect(circuit.failed(0)).toBe(false)
    expect(circuit.isOpen).toBe(false)
  })
})
