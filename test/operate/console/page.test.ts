import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { builtPage } from './support/chromium.ts'

let page: Awaited<ReturnType<typeof builtPage>>
beforeAll(async () => {
  page = await builtPage()
}, 120_000)
afterAll(() => page.remove())

const read = (name: string) => readFile(join(page.folder, name), 'utf8')

describe('the built page', () => {
  test('is four files of at most 60 KB, compressed', async () => {
    const files = (await readdir(page.folder)).toSorted()
    expect(files).toEqual(['LICENSES', 'console.css', 'console.js', 'index.html'])
    const sizes = await Promise.all(files.map(async (name) => gzipSync(await read(name)).byteLength))
    expect(sizes.reduce((sum, size) => sum + size)).toBeLessThan(60 * 1_024)
  })

  test('loads nothing from elsewhere, and nothing that its content policy refuses', async () => {
    const [html, script, style] = await Promise.all(['index.html', 'console.js', 'console.css'].map(read))
    expect(html).toContain('src="./console.js"')
    expect(html).toContain('href="./console.css"')
    expect(html).not.toMatch(/<script[^>]*>[^<]|<style|style=|\son\w+=/)
    expect(script).not.toMatch(/\beval\(|new Function\(|document\.write/)
    // Names of namespaces are no addresses.
    const addresses = `${html}${script}${style}`.match(/https?:\/\/[\w./-]+/g) ?? []
    expect([...new Set(addresses)].filter((address) => !address.startsWith('http://www.w3.org/'))).toEqual([])
    expect(style).not.toContain('@import')
  })

  test('comes with the licences of what is bundled', async () => {
    const licences = await read('LICENSES')
    expect(licences).toMatch(/^preact\n\nThe MIT License/)
    expect(licences).toContain('Jason Miller')
  })
})
