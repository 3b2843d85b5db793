/** The page in Chromium: every view, actions clicked to their end, strangers kept out. */

import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import { type Console, createConsole, oneTimeSession } from '@concordat/console'
import { toNode } from 'concordat/core'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { until } from '../../support/until.ts'
import { builtPage, describeInChromium, launch, listen, serverOf } from './support/chromium.ts'
import { CARD, type ShopWorld, shopWorld } from './support/shop-world.ts'

const VIEWS = {
  overview: 'orders.placed',
  instances: 'shop:default:shop-1',
  'instances/shop%3Adefault%3Ashop-1': 'orders.placed.stock',
  sagas: 'buy/o-1',
  'sagas/buy/o%2F2': 'carrier.closed',
  'letters?channel=orders.placed&group=stock': 'warehouse.away',
  outbox: 'no topic refunds.due',
  locks: 'sku:apple',
  cluster: 'settlement',
  branches: 'No transaction is prepared',
  topology: 'Partitions',
  audit: 'Newer',
  doctor: 'PostgreSQL',
} as const

/** The parts of the browser's page that are used. */
interface Dom {
  readonly document: { readonly activeElement: unknown; getElementById(id: string): { submit(): void } }
}

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

describeInChromium('the page in Chromium', () => {
  let world: ShopWorld
  let browser: Browser
  let built: Awaited<ReturnType<typeof builtPage>>
  let shown: { readonly console: Console; readonly server: Server; readonly origin: string }

  async function serve(options: Partial<Parameters<typeof createConsole>[0]>) {
    const { operator, services, bindings } = world
    const console = createConsole({ operator, services, bindings, page: built.folder, ...options })
    const server = createServer(toNode(console))
    const port = await listen(server)
    return { console, server, port, origin: `http://127.0.0.1:${port}` }
  }
  async function end({ console, server }: { readonly console: Console; readonly server: Server }) {
    await console.close()
    server.closeAllConnections()
    server.close()
  }

  beforeAll(async () => {
    ;[world, built, browser] = await Promise.all([shopWorld({ letters: 12 }), builtPage(), launch()])
    shown = await serve({ authorize: () => ({ user: 'ann', allow: true }) })
  }, 180_000)
  afterAll(async () => {
    await browser.close()
    await end(shown)
    await built.remove()
    await world.close()
  }, 60_000)

  /** Fails the test for whatever the browser complains of. */
  async function open(path: string, options: BrowserContextOptions = {}, origin = shown.origin): Promise<Page> {
    const context = await browser.newContext(options)
    const page = await context.newPage()
    const complaints: string[] = []
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()))
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on(
      'request',
      (request) =>
        request.url().startsWith(origin) || request.url().startsWith('data:') || complaints.push(request.url()),
    )
    onTestFinished(async () => {
      await context.close()
      expect(complaints).toEqual([])
    })
    await page.goto(`${origin}/${path}`)
    return page
  }

  const inDialog = async (page: Page, reason: string, typed?: string) => {
    await page.getByLabel('Reason').fill(reason)
    if (typed !== undefined) await page.getByLabel(/^Type/).fill(typed)
    await page.getByRole('dialog').locator('button[type=submit]').click()
    await page.getByRole('dialog').waitFor({ state: 'detached' })
  }

  async function faults(page: Page) {
    await page.evaluate(axe)
    const found = await page.evaluate(() =>
      (
        globalThis as unknown as {
          axe: { run(): Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }> }
        }
      ).axe.run(),
    )
    return found.violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`)
  }

  test.each(Object.entries(VIEWS))(
    '%s shows what there is, light and dark, without a serious fault of access',
    async (path, text) => {
      for (const colorScheme of ['light', 'dark'] as const) {
        const page = await open(`#/${path}`, { colorScheme, reducedMotion: 'reduce' })
        await page.getByRole('main').getByText(text).first().waitFor()
        expect(await faults(page), colorScheme).toEqual([])
        expect(await page.title()).not.toBe('taken')
      }
    },
  )

  test.each(Object.keys(VIEWS))('%s fits a phone and a page at 200 %', async (path) => {
    const page = await open(`#/${path}`, { viewport: { width: 390, height: 844 }, isMobile: true })
    await page
      .getByRole('main')
      .getByText(VIEWS[path as keyof typeof VIEWS])
      .first()
      .waitFor()
    const isWide = () => page.evaluate('document.documentElement.scrollWidth > innerWidth')
    expect(await isWide()).toBe(false)
    await page.setViewportSize({ width: 320, height: 640 })
    expect(await isWide()).toBe(false)
  })

  test('a stuck saga is retried by the keyboard alone', async () => {
    const page = await open('#/sagas?status=stuck')
    await page.getByRole('link', { name: /buy\/o-1/ }).focus()
    await page.keyboard.press('Enter')
    const retry = page.getByRole('button', { name: 'Retry', exact: true })
    await retry.waitFor()
    world.outside.bank = true
    for (
      let n = 0;
      n < 40 && !(await retry.evaluate((it) => it === (globalThis as unknown as Dom).document.activeElement));
      n++
    )
      await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').waitFor()
    await page.keyboard.type('the carrier is open again')
    await page.keyboard.press('Enter')
    await page.getByText('Retry: applied').waitFor()
    await page.locator('.hero').getByText('completed').waitFor()
    await page.getByText('the carrier is open again').waitFor()
    world.outside.bank = false
  })

  test('Escape leaves an action undone', async () => {
    const page = await open('#/sagas/buy/o%2F2')
    await page.getByRole('button', { name: 'Skip' }).click()
    await page.getByRole('dialog').waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    expect((await world.operator.sagas.show({ saga: 'buy', id: 'o/2' })).status).toBe('stuck')
  })

  test('a dead letter is dropped after its id is typed, the others are sent back after a dry run', async () => {
    const page = await open('#/letters')
    await page.getByRole('button', { name: 'Look at the dead letters of stock on orders.placed' }).click()
    await page.getByText('d-7', { exact: true }).first().click()
    const letter = page.locator('li', { has: page.locator('summary', { hasText: 'd-7' }) })
    await letter.getByRole('button', { name: 'Drop...' }).click()
    await expect.poll(() => page.getByRole('dialog').locator('button[type=submit]').isDisabled()).toBe(true)
    await inDialog(page, 'a test order', 'd-7')
    await page.getByText('1 dropped').waitFor()
    world.outside.warehouse = true
    const redrive = page.getByRole('region', { name: 'By error' }).getByRole('button', { name: 'Redrive...' })
    await page.getByText('11 of 11').waitFor()
    await redrive.click()
    await page.getByText('The dry run found 11').waitFor()
    await inDialog(page, 'the warehouse is back')
    await page.getByText('11 sent back').waitFor()
    await until('they were handled', () => new Set(world.handled).size === 11)
    expect(world.handled).not.toContain('d-7')
  })

  test('a parked message is tried again', async () => {
    const page = await open('#/outbox')
    await page.getByRole('button', { name: 'Retry' }).click()
    await inDialog(page, 'the topic is there')
    await page.getByText('Nothing is parked.').waitFor()
    expect(await world.operator.outbox.stats()).toMatchObject({ parked: 0, pending: 1 })
  })

  test('a lock is released, and stands in the audit', async () => {
    const page = await open('#/locks')
    await page
      .getByRole('row', { name: /sku:apple/ })
      .getByRole('button', { name: 'Release' })
      .click()
    await inDialog(page, 'its holder hangs', 'sku:apple')
    await page.getByText('Release the lock: done').waitFor()
    await page.getByRole('link', { name: 'Audit' }).click()
    await page.getByRole('row', { name: /locks: release sku:apple its holder hangs/ }).waitFor()
  })

  test('a binding is paused on every instance and resumed on one, and both stand below the instances', async () => {
    const page = await open('#/overview')
    const row = page.getByRole('row').filter({ hasText: 'orders.paid' })
    await row.getByRole('button', { name: 'Pause' }).click()
    await inDialog(page, 'the disk is full')
    await page.getByText('Pause the binding: 1 did it').waitFor()
    await row.getByText('paused').waitFor()
    await page.goto(`${shown.origin}/#/instances/shop%3Adefault%3Ashop-1`)
    await page.getByRole('button', { name: 'Resume' }).click()
    await inDialog(page, 'there is room again')
    await page.getByText('Resume the binding: 1 did it').waitFor()
    await page.getByRole('link', { name: 'All instances' }).click()
    await page.getByRole('row', { name: /ann resume-binding shop:default:shop-1 orders\.paid\.audit/ }).waitFor()
    await page.getByRole('row', { name: /ann pause-binding shop:\*\* orders\.paid\.audit the disk is full/ }).waitFor()
  })

  test('a payload is shown when asked for, as text, its secrets hidden', async () => {
    const page = await open('#/sagas/buy/o%2F2')
    await page.getByRole('button', { name: /^Show, and keep/ }).click()
    await page.getByText('"orderId": "o/2"').waitFor()
    expect(await page.content()).not.toContain(CARD)
  })

  test('shows live what happens elsewhere, says when the server does not answer, and comes back', async () => {
    const own = await serve({ authorize: () => ({ user: 'ann', allow: true }) })
    const context = await browser.newContext()
    const page = await context.newPage()
    await page.goto(`${own.origin}/#/overview`)
    await page.getByRole('banner').getByText('live').waitFor()
    const before = Number(await page.locator('.card', { hasText: 'stuck sagas' }).locator('b').innerText())
    await world.operator.sagas.resolve(
      { saga: 'buy', id: 'o-3' },
      { by: 'bob', reason: 'by phone', outcome: 'completed' },
    )
    await page
      .locator('.card', { hasText: 'stuck sagas' })
      .locator('b', { hasText: String(before - 1) })
      .waitFor()
    await end(own)
    await page.getByRole('banner').getByText('no answer').waitFor({ timeout: 5_000 })
    const again = createServer(toNode(createConsole({ operator: world.operator, page: built.folder })))
    await new Promise<void>((resolve) => again.listen(own.port, '127.0.0.1', resolve))
    await page.getByRole('banner').getByText('live').waitFor({ timeout: 15_000 })
    await context.close()
    again.closeAllConnections()
    again.close()
  })

  test('read-only, it has no button that does anything', async () => {
    const own = await serve({})
    onTestFinished(() => end(own))
    const page = await open('#/sagas/buy/o%2F2', {}, own.origin)
    await page.getByText('read-only').waitFor()
    await page.getByText('Hidden: you may not see payloads here.').waitFor()
    for (const name of ['Retry', 'Skip', 'Cancel']) expect(await page.getByRole('button', { name }).count()).toBe(0)
    expect(await page.getByText('closed on Sundays').count()).toBe(0)
  })

  test('alone, its address works once and leaves the history', async () => {
    const session = oneTimeSession({ user: 'ann@ops', allow: () => true })
    const own = await serve({ session })
    onTestFinished(() => end(own))
    const page = await open(`#token=${session.token}`, {}, own.origin)
    await page.getByText('ann@ops').waitFor()
    expect(page.url()).toBe(`${own.origin}/#/`)
    await page.reload()
    await page.getByText('ann@ops').waitFor()
    const other = await (await browser.newContext()).newPage()
    await other.goto(`${own.origin}/#token=${session.token}`)
    await other.getByText('sign in where this console is mounted').waitFor()
    await other.context().close()
  })

  test('a page of another site reads nothing, does nothing and frames nothing', async () => {
    const target = { saga: 'buy', id: 'o/2' }
    const body = JSON.stringify({ ...target, do: 'resolve', outcome: 'completed', reason: 'mine now' })
    const evil = serverOf(`<!doctype html><iframe name="f" src="${shown.origin}/"></iframe>
      <form id="form" method="post" enctype="text/plain" target="f" action="${shown.origin}/api/saga"><input name='${body.slice(0, -1)},"x":"' value='"}'></form>`)
    const port = await listen(evil)
    onTestFinished(() => void evil.close())
    const context = await browser.newContext()
    const page = await context.newPage()
    await page.goto(`http://evil.test:${port}/`)
    const attempts = await page.evaluate(
      async ({ origin, text }) => {
        const tried = (path: string, init: RequestInit): Promise<string> =>
          fetch(`${origin}/api/${path}`, init).then(
            (response) => `${response.type} ${response.status}`,
            () => 'refused',
          )
        const results = [
          await tried('sagas', {}),
          await tried('me', { credentials: 'include' }),
          await tried('saga', { method: 'POST', body: text, headers: { 'content-type': 'application/json' } }),
          await tried('saga', { method: 'POST', body: text, mode: 'no-cors' }),
          await new Promise<string>((resolve) => {
            const source = new EventSource(`${origin}/api/events`)
            source.onmessage = () => resolve('heard')
            source.onerror = () => resolve('refused')
          }),
        ]
        ;(globalThis as unknown as Dom).document.getElementById('form').submit()
        return results
      },
      { origin: shown.origin, text: body },
    )
    expect(attempts).toEqual(Array(5).fill('refused'))
    expect(await page.frameLocator('iframe').getByRole('main').count()).toBe(0)
    expect((await world.operator.sagas.show(target)).status).toBe('stuck')
    await context.close()
  })

  test('under a name that leads here (DNS rebinding) there is no console', async () => {
    const page = await (await browser.newContext()).newPage()
    const response = await page.goto(shown.origin.replace('127.0.0.1', 'evil.test'))
    expect(response?.status()).toBe(421)
    expect(await page.evaluate(() => fetch('./api/sagas').then(({ status }) => status))).toBe(421)
    await page.context().close()
  })
})
