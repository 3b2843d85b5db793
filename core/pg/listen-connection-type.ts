/** The part of `pg.Client` that is used. */
export interface PgListenConnection {
  connect(): Promise<unknown>
  query(text: string): Promise<unknown>
  end(): Promise<void>
  on(event: 'notification', listener: (message: { channel: string; payload?: string | undefined }) => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'end', listener: () => void): unknown
  /** Process id of the server's backend, once connected. */
  readonly processID?: number | null | undefined
  /** Its socket, destroyed if `end` gets no response. */
  readonly connection?: { readonly stream?: { destroy?(): unknown } | undefined } | undefined
}
