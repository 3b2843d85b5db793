/** The page: files that contain no data, the same for everybody. */
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { HEADERS } from './browser-protections.ts'
import { Problem } from './problem.ts'

const FILES: Readonly<Record<string, string>> = {
  'index.html': 'text/html; charset=utf-8',
  'console.js': 'text/javascript; charset=utf-8',
  'console.css': 'text/css; charset=utf-8',
  LICENSES: 'text/plain; charset=utf-8',
}

export class PageFiles {
  readonly #folder: URL | undefined
  readonly #known = new Map<string, Uint8Array<ArrayBuffer>>()

  /** @param folder of a built page. @default the folder in the package */
  constructor(folder: string | undefined) {
    this.#folder = folder === undefined ? packaged() : pathToFileURL(folder.endsWith('/') ? folder : `${folder}/`)
  }

  has(name: string): boolean {
    return Object.hasOwn(FILES, name)
  }

  /** @throws Problem 503 if it was not built */
  async read(name: string): Promise<Response> {
    const body = this.#known.get(name) ?? (await this.#load(name))
    this.#known.set(name, body)
    return new Response(body, { headers: { ...HEADERS, 'content-type': FILES[name] ?? '' } })
  }

  async #load(name: string): Promise<Uint8Array<ArrayBuffer>> {
    try {
      if (this.#folder === undefined) throw new Error('the package is not here')
      return new Uint8Array(await readFile(new URL(name, this.#folder)))
    } catch {
      const remedy = 'npm run build makes it; in a bundle, give createConsole `page`, the folder where you copied it'
      throw new Problem(503, 'console.page_missing', `the page of the console is not here: ${remedy}`)
    }
  }
}

/** Also works from the sources. `undefined` if the package is missing: in another program's bundle. */
function packaged(): URL | undefined {
  try {
    const manifest = createRequire(import.meta.url).resolve('@concordat/console/package.json')
    return new URL('dist/page/', pathToFileURL(manifest))
  } catch {
    return undefined
  }
}
