/** A lean HTTP client: kept connections and nothing else, so that the client's cost stays small. */
import { Agent, type OutgoingHttpHeaders, request } from 'node:http'

const MAX_CONNECTIONS = 512

/** @returns posts a body and resolves with the body of the answer. @throws when the status is not 2xx */
export function httpCaller(
  origin: string,
): (path: string, body: string, headers: OutgoingHttpHeaders) => Promise<string> {
  const agent = new Agent({ keepAlive: true, maxSockets: MAX_CONNECTIONS })
  return (path, body, headers) =>
    new Promise((resolve, reject) => {
      const lengths = { 'content-length': Buffer.byteLength(body) }
      const sent = request(`${origin}${path}`, { method: 'POST', agent, headers: { ...headers, ...lengths } })
      sent.on('error', reject)
      sent.on('response', (response) => {
        const { statusCode = 0 } = response
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (part: string) => (text += part))
        response.on('error', reject)
        response.on('end', () => {
          if (statusCode >= 200 && statusCode < 300) resolve(text)
          else reject(new Error(`${path}: HTTP ${statusCode} ${text}`))
        })
      })
      sent.end(body)
    })
}
