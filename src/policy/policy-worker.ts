// The thread in which modules run that could not be metered. It may be ended at any time, in the middle of anything.
import { parentPort, workerData } from 'node:worker_threads'
import { createTenantInstances, type TenantInstances } from './tenants.ts'
import { type FromWorker, progressAt, shortTime, type ToWorker, type WorkerStart } from './worker-messages.ts'

const progress = new Int32Array((workerData as WorkerStart).progress)
const modules = new Map<number, TenantInstances>()
const post = (message: FromWorker): void => parentPort?.postMessage(message)

parentPort?.on('message', (message: ToWorker) => {
  const { id } = message
  if (message.do === 'load') {
    modules.set(
      id,
      createTenantInstances(message.settings, (tenant, line) => post({ kind: 'log', id, tenant, line })),
    )
  } else if (message.do === 'unload') modules.delete(id)
  else {
    Atomics.store(progress, progressAt.begunAtMs, shortTime())
    Atomics.store(progress, progressAt.begun, message.number)
    const { tenant, frame, payload, headers, claims } = message.job
    const outcome = modules.get(id)?.call(tenant, {
      frame,
      payload: payload && frame.subarray(...payload),
      headers,
      claim: (name) => (Object.hasOwn(claims, name) ? claims[name] : undefined),
    })
    Atomics.store(progress, progressAt.done, message.number)
    post({
      kind: 'judged',
      number: message.number,
      outcome: outcome ?? { kind: 'failure', failure: 'THREAD_LOST', isBroken: false },
    })
  }
})
post({ kind: 'ready' })
