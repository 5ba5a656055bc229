// The page of a real run, in a real browser: what it shows, what its buttons copy, that it asks for nothing, and that it
// can be read without a script.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { formatHtml } from '../../../src/preflight/reporters/html.ts'
import { type Browser, openBrowser, type Page, skipWithoutBrowser } from '../../support/browser.ts'
import { productionEnvironment } from '../../support/environments.ts'
import { runCommand } from '../../support/run-command.ts'
import { aboutSample, hostile, sampleOutcomes, sampleReport } from '../../support/sample-report.ts'

describe.skipIf(skipWithoutBrowser())('the page of a report', () => {
  const folder = mkdtempSync(join(tmpdir(), 'arqonbus-page-'))
  const file = join(folder, 'report.html')
  const url = pathToFileURL(file).href
  let browser: Browser
  let page: Page
  let report: {
    canonical: { rootCauses: string[]; results: { id: string; status: string; findings?: { fix: string }[] }[] }
  }

  beforeAll(async () => {
    const env = {
      ...productionEnvironment,
      ARQONBUS_ENVIRONMENT: 'staging',
      ARQONBUS_VALKEY_URL: 'redis://127.0.0.1:1',
      JWT_SKIP_VALIDATION: '',
    }
    const only = ['--only', 'dep.valkey', 'bus.valkey-reachable', 'shield.jwt-skip-absent', 'bus.storage-mode-explicit']
    const run = await runCommand(['preflight', '--json', '--bundle', 'never', ...only, '--report', `html=${file}`], env)
    report = JSON.parse(run.out.join('\n'))
    browser = await openBrowser()
    page = browser.page
    await page.send('Emulation.setFocusEmulationEnabled', { enabled: true })
    await page.send('Browser.grantPermissions', { permissions: ['clipboardReadWrite', 'clipboardSanitizedWrite'] })
    await page.open(url)
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  it('shows the verdict, and a card with its fix for each failure', async () => {
    const failed = report.canonical.results.filter(({ status }) => status === 'fail' || status === 'error')
    expect(failed.map(({ id }) => id)).toContain('dep.valkey.connect')
    expect(await page.evaluate("document.querySelector('#verdict').innerText")).toBe('NO-GO')
    const cards = await page.evaluate("[...document.querySelectorAll('.card h3')].map((e) => e.innerText)")
    expect([...(cards as string[])].sort()).toEqual(failed.map(({ id }) => id).sort())
    const fixes = await page.evaluate("document.querySelector('#card-shield\\\\.jwt-skip-absent pre').innerText")
    expect(fixes).toBe(failed.find(({ id }) => id === 'shield.jwt-skip-absent')!.findings![0]!.fix)
  })

  it('draws what waits on what, with the root cause and the way from it lit, and leads to its card', async () => {
    const color = (selector: string): Promise<unknown> =>
      page.evaluate(`getComputedStyle(document.querySelector(${JSON.stringify(selector)})).stroke`)
    expect(await page.evaluate("document.querySelectorAll('.graph .node.root').length")).toBeGreaterThan(0)
    expect(await page.evaluate("document.querySelectorAll('.graph .node.blocked').length")).toBeGreaterThan(5)
    expect(await color('.graph .node.root rect')).toBe(await color('.graph .edge.lit'))
    expect(await color('.graph .edge.lit')).not.toBe(await color('.graph .edge:not(.lit)'))
    await page.click('.graph a[href="#card-dep.valkey.connect"] rect')
    expect(await page.evaluate('location.hash')).toBe('#card-dep.valkey.connect')
  })

  it('copies the fix that stands beside the button', async () => {
    const shown = await page.evaluate("document.querySelector('#card-dep\\\\.valkey\\\\.connect pre').innerText")
    await page.click('#card-dep\\.valkey\\.connect button')
    await page.evaluate(
      "new Promise((resolve) => { const look = () => document.querySelector('#card-dep\\\\.valkey\\\\.connect button').dataset.copied ? resolve() : requestAnimationFrame(look); look() })",
    )
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe(shown)
  })

  it('asks for nothing but itself, and breaks no rule of its own policy', () => {
    const asked = page.events('Network.requestWillBeSent').map(({ request }) => (request as { url: string }).url)
    expect(new Set(asked.map((address) => address.split('#')[0]))).toEqual(new Set([url]))
    expect(page.events('Log.entryAdded')).toEqual([])
    expect(page.events('Runtime.exceptionThrown')).toEqual([])
  })

  it('fits a narrow window: only the graph and the tables scroll sideways', async () => {
    await page.send('Emulation.setDeviceMetricsOverride', {
      width: 420,
      height: 800,
      deviceScaleFactor: 1,
      mobile: false,
    })
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(420)
    await page.send('Emulation.clearDeviceMetricsOverride')
  })

  it('can be read without scripts: everything but the copy buttons', async () => {
    await page.send('Emulation.setScriptExecutionDisabled', { value: true })
    await page.open(url)
    const { root } = (await page.send('DOM.getDocument')) as { root: { nodeId: number } }
    const boxOf = async (selector: string): Promise<unknown> => {
      const { nodeId } = await page.send('DOM.querySelector', { nodeId: root.nodeId, selector })
      return await page.send('DOM.getBoxModel', { nodeId }).catch(() => 'not shown')
    }
    expect(await boxOf('.fix button')).toBe('not shown')
    for (const selector of ['#verdict', '.card .fix pre', '.graph .node.root rect', 'details table']) {
      expect(await boxOf(selector), selector).not.toBe('not shown')
    }
    await page.send('Emulation.setScriptExecutionDisabled', { value: false })
  })

  it('takes nothing that was found for markup', async () => {
    const sample = sampleReport(sampleOutcomes.map((outcome, at) => ({ id: `x.check-${at}`, outcome, found: hostile })))
    const other = join(folder, 'hostile.html')
    writeFileSync(other, formatHtml(sample, aboutSample(sample)))
    await page.open(pathToFileURL(other).href)
    expect(page.events('Page.javascriptDialogOpening')).toEqual([])
    expect(await page.evaluate('document.scripts.length')).toBe(1)
    const text = await page.evaluate("document.querySelector('.card code').textContent")
    expect(text).toContain(`</script><script>alert(1)</script>`)
  })
})
