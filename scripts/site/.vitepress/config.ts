import { defineConfig } from 'vitepress'
import llms from 'vitepress-plugin-llms'
import { mermaid } from './mermaid.ts'
import { NAV, SIDEBAR } from './pages.ts'

/** Pages left out of llms-full.txt: generated, or for contributors. */
const NOT_FOR_ASSISTANTS = ['api/**', 'contributing/**', 'decisions/**', 'changelog.md']

export default defineConfig({
  title: 'Concordat',
  description: 'Event-driven messaging and distributed transactions for Node, in TypeScript.',
  lang: 'en',
  srcDir: 'pages',
  outDir: '../../site',
  cacheDir: '.cache',
  cleanUrls: true,
  lastUpdated: false,
  markdown: { config: mermaid, theme: { light: 'github-light-high-contrast', dark: 'github-dark-high-contrast' } },
  vite: { plugins: [llms({ ignoreFiles: NOT_FOR_ASSISTANTS })] },
  themeConfig: {
    nav: NAV,
    sidebar: SIDEBAR,
    outline: [2, 3],
    search: { provider: 'local' },
  },
})
