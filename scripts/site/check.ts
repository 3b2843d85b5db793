/**
 * `npm run docs:check`: opens each hand-written page of the built site in Chromium, at phone and desktop width, in
 * light and dark mode. Fails when a page is wider than the screen, when a diagram is empty, or when axe finds a violation of
 * WCAG A or AA.
 */
import { createReadStream, existsSync, globSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { extname, join, resolve } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'

const SITE = resolve(import.meta.dirname, '../../site')
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.json': 'application/json',
}
const VIEWS = [
  { name: 'phone, light', width: 390, height: 844, colorScheme: 'light' },
  { name: 'phone, dark', width: 390, height: 844, colorScheme: 'dark' },
  { name: 'desktop, light', width: 1280, height: 900, colorScheme: 'light' },
  { name: 'desktop, dark', width: 1280, height: 900, colorScheme: 'dark' },
] as const
/** Skips generated API pages and decision records, except one: they share a layout, so one page is enough. */
const isSampled = (path: string): boolean => !/^(?:api|decisions)\//.test(path) || path === 'api/locks.html'

/** Part of the browser's page that the checks use. */
interface Dom {
  readonly document: {
    readonly documentElement: { readonly scrollWidth: number; readonly clientWidth: number }
    querySelectorAll(selector: string): Iterable<{ getBoundingClientRect(): { readonly width: number } }>
  }
  readonly axe: { run(options: object): Promise<{ readonly violations: readonly Violation[] }> }
}
interface Violation {
  readonly id: string
  readonly nodes: ReadonlyArray<{ readonly target: readonly string[] }>
}

function serve(): Promise<Server> {
  const server = createServer(({ url = '/' }, response) => {
    const path = join(SITE, decodeURIComponent(new URL(url, 'http://site').pathname))
    const file = [path, `${path}.html`, join(path, 'index.html')].find(
      (each) => existsSync(each) && statSync(each).isFile(),
    )
    if (file === undefined) return response.writeHead(404).end()
    response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' })
    return createReadStream(file).pipe(response)
  })
  return new Promise((started) => server.listen(0, '127.0.0.1', () => started(server)))
}

async function faultsOf(page: Page, address: string, axe: string): Promise<readonly string[]> {
  await page.goto(address, { waitUntil: 'networkidle' })
  // The theme names its buttons when it has hydrated the page.
  await page.waitForSelector('.VPSwitchAppearance[title]:not([title=""])', { state: 'attached' })
  await page.addScriptTag({ content: axe })
  return page.evaluate(async () => {
    const { document, axe: checker } = globalThis as unknown as Dom
    const { scrollWidth, clientWidth } = document.documentElement
    const wide = scrollWidth > clientWidth ? [`is ${scrollWidth} px wide on a screen of ${clientWidth} px`] : []
    const empty = [...document.querySelectorAll('.diagram svg')].filter((svg) => svg.getBoundingClientRect().width < 50)
    const { violations } = await checker.run({ runOnly: ['wcag2a', 'wcag2aa'] })
    return [
      ...wide,
      ...empty.map(() => 'has an empty diagram'),
      ...violations.map(({ id, nodes }) => `${id} at ${nodes.map(({ target }) => target.join(' ')).join(', ')}`),
    ]
  })
}

async function check(browser: Browser, origin: string): Promise<readonly string[]> {
  const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  const paths = globSync('**/*.html', { cwd: SITE }).filter((path) => path !== '404.html' && isSampled(path))
  if (paths.length === 0) throw new Error('site/ is empty: build it with npm run docs')
  const faults: string[] = []
  for (const { name, width, height, colorScheme } of VIEWS) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme })
    const page = await context.newPage()
    for (const path of paths) {
      for (const fault of await faultsOf(page, `${origin}/${path.replace(/(?:index)?\.html$/, '')}`, axe)) {
        faults.push(`${path} (${name}) ${fault}`)
      }
    }
    await context.close()
    console.log(`${name}: ${paths.length} pages`)
  }
  return faults
}

const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium'
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] })
const server = await serve()
try {
  const faults = await check(browser, `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  for (const fault of faults) console.error(fault)
  process.exitCode = faults.length === 0 ? 0 : 1
} finally {
  await browser.close()
  server.close()
}
