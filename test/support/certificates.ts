// Certificates for servers under test, made by openssl: an authority of its own, and a certificate for a name.
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface Certificates {
  /** PEM files. */
  readonly authority: string
  readonly certificate: string
  readonly key: string
  close(): Promise<void>
}

/** `name` is the one the certificate is for: of a host, or an IP address. */
export async function makeCertificates(name: string, days = 2): Promise<Certificates> {
  const dir = await mkdtemp(join(tmpdir(), 'arqonbus-certificates-'))
  const at = (file: string): string => join(dir, file)
  const openssl = (...args: readonly string[]): Promise<unknown> => run('openssl', [...args], { cwd: dir })
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  await openssl(
    'req',
    '-x509',
    ...key,
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
    '-days',
    String(days),
    '-subj',
    '/CN=test authority',
  )
  await openssl('req', ...key, '-keyout', 'server.key', '-out', 'server.csr', '-subj', `/CN=${name}`)
  await writeFile(at('names'), `subjectAltName=${isIP(name) === 0 ? 'DNS' : 'IP'}:${name}\n`)
  const sign = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', String(days), '-extfile', 'names']
  await openssl('x509', '-req', '-in', 'server.csr', '-out', 'server.pem', ...sign)
  return {
    authority: at('ca.pem'),
    certificate: at('server.pem'),
    key: at('server.key'),
    close: () => rm(dir, { recursive: true, force: true }),
  }
}
