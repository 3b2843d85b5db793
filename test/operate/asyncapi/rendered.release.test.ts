/**
 * The document as AsyncAPI's own viewer shows it, which also its HTML template is made of. It is not among our dependencies (it brings
 * 120 MB), so it is installed when this is run; without a registry the test fails and says so.
 */
import { asyncapi } from '@concordat/cli/asyncapi'
import { expect, test } from 'vitest'
import { loadPeer, providePeer } from '../../../bench/peers.ts'
import { shop } from '../support/shop.ts'

const PACKAGES = {
  '@asyncapi/react-component': '3.2.1',
  '@asyncapi/parser': '3.6.3',
  react: '19.2.0',
  'react-dom': '19.2.0',
}

interface Parsing {
  readonly Parser: new () => { parse(text: string): Promise<{ readonly document: unknown }> }
}

test('is shown whole by the viewer of AsyncAPI, each channel and its payload', { timeout: 400_000 }, async () => {
  const folder = await providePeer('asyncapi-viewer', PACKAGES, () => {})
  const { Parser } = loadPeer<Parsing>(folder, '@asyncapi/parser')
  const react = loadPeer<{ createElement(type: unknown, props: object): unknown }>(folder, 'react')
  const server = loadPeer<{ renderToStaticMarkup(element: unknown): string }>(folder, 'react-dom/server')
  const viewer = loadPeer<{ readonly default: unknown }>(folder, '@asyncapi/react-component').default
  const written = await asyncapi({ services: shop, info: { title: 'The whole shop', version: '1.2.0' } })
  const { document } = await new Parser().parse(JSON.stringify(written))
  const page = server.renderToStaticMarkup(
    react.createElement(viewer, { schema: document, config: { show: { errors: true } } }),
  )
  expect(page).toContain('The whole shop')
  for (const name of Object.keys(written.channels)) expect(page).toContain(name)
  // Readers need the fields of a payload, and our own extensions.
  for (const text of ['orderId', 'x-concordat']) expect(page).toContain(text)
})
