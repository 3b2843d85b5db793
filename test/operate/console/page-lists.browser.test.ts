/** The page in Chromium before lists that end at a limit, and before a server that is slow. */
import { createServer, type Server } from 'node:http'
import { createOperator } from '@concordat/cli'
import { type Console, createConsole } from '@concordat/console'
import { toNode } from 'concordat/core'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { until } from '../../support/until.ts'
import { builtPage, describeInChromium, launch, listen } from './support/chromium.ts'

const never = (): Promise<never> => new Promise(() => {})
const several = <T>(count: number, of: (n: number) => T): readonly T[] => Array.from({ length: count }, (_, n) => of(n))
const line = (n: number) => ({
  id: `m${n}`,
  destination: 'orders',
  source: 'shop',
  key: null,
  bytes: 1,
  attempts: 5,
  lastError: 'no',
  addedAt: 0,
  parkedAt: 0,
  nextAttemptAt: 0,
})
const branch = { saga: 's', step: 'a', service: 'shop', since: 0, changes: 1, tables: [], birth: '1' }
const stats = { pending: 900, oldestAgeMs: 0, blockedKeys: 0, parked: 900 }

/** Answers of the API to the page, by view: this many rows. */
const answers = (rows: number): Readonly<Record<string, unknown>> => ({
  locks: several(rows, (n) => ({ key: `k${n}`, holders: [], waiters: [] })),
  outbox: { stats, failing: several(rows, line), parked: several(rows, line) },
  undo: several(rows, (n) => ({ ...branch, id: `${n}` })),
  prepared: [],
})

describeInChromium('the page before long lists and a slow server', () => {
  let browser: Browser
  let built: Awaited<ReturnType<typeof builtPage>>
  let shown: { readonly console: Console; readonly server: Server; readonly origin: string }

  beforeAll(async () => {
    ;[built, browser] = await Promise.all([builtPage(), launch()])
    const operator = createOperator({ sql: { query: never, transaction: never } })
    const console = createConsole({ operator, page: built.folder, authorize: () => ({ user: 'ann', allow: true }) })
    const server = createServer(toNode(console))
    shown = { console, server, origin: `http://127.0.0.1:${await listen(server)}` }
  }, 180_000)
  afterAll(async () => {
    await browser.close()
    await shown.console.close()
    shown.server.closeAllConnections()
    shown.server.close()
    await built.remove()
  }, 60_000)

  async function open(path: string, answer: (view: string) => unknown): Promise<Page> {
    const page = await (await browser.newContext()).newPage()
    onTestFinished(() => page.context().close())
    await page.clock.install()
    await page.route(/\/api\/(?:locks|outbox|undo|prepared)\b/, async (route) => {
      const [, view = ''] = /\/api\/(\w+)/.exec(route.request().url()) ?? []
      await route.fulfill({ json: await answer(view) }).catch(() => {})
    })
    await page.goto(`${shown.origin}/#/${path}`)
    return page
  }

  test.each([
    ['locks', 200, 1],
    ['outbox', 200, 2],
    ['branches', 1_000, 1],
  ])('%s says that there may be more than the %i rows that it shows', async (path, most, lists) => {
    const cut = await open(path, (view) => answers(most)[view])
    const notes = cut.getByText(`There may be more than these ${most}`)
    await notes.first().waitFor()
    expect(await notes.count()).toBe(lists)
    expect(await cut.getByText(`${most} keys`, { exact: true }).count()).toBe(0)
    const whole = await open(path, (view) => answers(3)[view])
    await whole
      .getByRole('main')
      .getByText(/^(?:k|m|s\/)2$/)
      .first()
      .waitFor()
    expect(await whole.getByText('There may be more').count()).toBe(0)
  })

  test.each(['locks', 'outbox', 'branches'])(
    '%s shows the answer of a server that takes longer than its pace',
    async (path) => {
      const [asked, held] = [[] as string[], Promise.withResolvers<void>()]
      const page = await open(path, async (view) => {
        asked.push(view)
        await held.promise
        return answers(1)[view]
      })
      await until('it has asked', () => asked.length > 0)
      await page.clock.runFor(20_000)
      held.resolve()
      await page
        .getByRole('main')
        .getByText(/^(?:k|m|s\/)0$/)
        .first()
        .waitFor()
      expect(new Set(asked).size).toBe(asked.length)
    },
  )
})
