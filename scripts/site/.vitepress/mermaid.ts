/** Renders Mermaid fences to SVG at build time. Colours follow the light or dark mode. */
import { renderMermaidSVG } from 'beautiful-mermaid'
import type { MarkdownRenderer } from 'vitepress'

const COLOURS = {
  bg: 'var(--vp-c-bg)',
  fg: 'var(--vp-c-text-1)',
  line: 'var(--vp-c-text-2)',
  accent: 'var(--vp-c-brand-1)',
  muted: 'var(--vp-c-text-2)',
  surface: 'var(--vp-c-bg-soft)',
  border: 'var(--vp-c-text-3)',
  transparent: true,
}

/** @throws the error of the renderer for an invalid diagram, which fails the build */
export function mermaid(md: MarkdownRenderer): void {
  const fence = md.renderer.rules.fence
  md.renderer.rules.fence = (tokens, index, ...rest) => {
    const token = tokens[index]
    if (token?.info.trim() !== 'mermaid') return fence?.(tokens, index, ...rest) ?? ''
    const svg = renderMermaidSVG(token.content, COLOURS).replaceAll(/@import url\([^)]*\);?/g, '')
    const heading = tokens[tokens.findLastIndex(({ type }, at) => at < index && type === 'heading_open') + 1]
    const label = md.utils.escapeHtml(`Diagram: ${heading?.content ?? ''}`)
    return `<div class="diagram" role="img" aria-label="${label}" tabindex="0" v-pre>${svg}</div>\n`
  }
}
