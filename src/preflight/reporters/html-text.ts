// Text made safe for HTML and SVG, in elements and in quoted attributes.
import { printable } from './view.ts'

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

export const html = (text: string): string => printable(text).replaceAll(/[&<>"']/g, (mark) => entities[mark]!)
