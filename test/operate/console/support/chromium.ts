/** Debian's Chromium, driven by playwright-core; without it, tests skip and name what is missing. */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Browser, chromium } from 'playwright-core'
import { describe } from 'vitest'
import { buildPage } from '../../../../scripts/page.ts'

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
const path = [process.env['CHROMIUM'], ...PLACES].find((each) => each !== undefined && each !== '' && existsSync(each))

/** As `describe`, and skipped by name without a browser. */
export function describeInChromium(name: string, tests: () => void): void {
  if (path !== undefined) describe(name, { timeout: 60_000 }, tests)
  else describe.skip(`${name} (no Chromium: apt-get install chromium, or set CHROMIUM to its path)`, tests)
}

/** `evil.test` is this machine, too. */
export async function launch(): Promise<Browser> {
  const args = [
    '--no-sandbox',
    '--disable-dev-shm-usage',
    '--disable-gpu',
    '--host-resolver-rules=MAP evil.test 127.0.0.1',
  ]
  return chromium.launch({ ...(path !== undefined && { executablePath: path }), args })
}

/** The page, built anew: that of `dist` may be of another day. */
export async function builtPage(): Promise<{ readonly folder: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'concordat-page-'))
  await buildPage(folder)
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) }
}

/** @returns the port */
export async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

/** Serves the same page of HTML for every name. */
export function serverOf(html: string): Server {
  return createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end(html))
}
