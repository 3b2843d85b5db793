/** Probes for Docker and Kubernetes: `/live` and `/ready` answer 200 or 503, with the health of every part as JSON. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ServiceHealth } from 'concordat/service'

export interface Probes {
  readonly port: number
  close(): Promise<void>
}

/** Opens the HTTP server. @param port 0 picks a free port. @throws when the port is in use */
export async function openProbes(port: number, health: () => ServiceHealth): Promise<Probes> {
  const server = createServer((request, response) => {
    const current = health()
    const answers: Readonly<Record<string, boolean>> = { '/live': current.live, '/ready': current.ready }
    const isWell = answers[request.url ?? '']
    const status = isWell === undefined ? 404 : isWell ? 200 : 503
    response.writeHead(status, { 'content-type': 'application/json', connection: 'close' })
    response.end(JSON.stringify(isWell === undefined ? { probes: Object.keys(answers) } : current))
  })
  server.listen(port)
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      server.close()
      server.closeAllConnections()
    },
  }
}
