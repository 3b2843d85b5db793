/** The query behind the view: `#/sagas?status=stuck`. */
export function queryInHash(): URLSearchParams {
  return new URLSearchParams(location.hash.split('?')[1] ?? '')
}
