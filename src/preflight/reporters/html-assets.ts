// Style and script of the page. Both are named by their digest in the page's policy, so that nothing else runs or styles.

export const style = `
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2024;--dim:#5f6b76;--line:#d5dbe1;--soft:#f4f6f8;--bad:#b3261e;--badbg:#fdecea;--ok:#1e7b3a;--okbg:#e8f5ec;--warn:#8a5a00;--warnbg:#fff4dc;--wait:#6b4fa0;--waitbg:#f1ecfa}
@media(prefers-color-scheme:dark){:root{--bg:#14171a;--fg:#e6e9ec;--dim:#9aa5af;--line:#343b42;--soft:#1c2126;--bad:#ff8a80;--badbg:#3a1c1a;--ok:#7fd99a;--okbg:#17301f;--warn:#f2c265;--warnbg:#33290f;--wait:#c3aef0;--waitbg:#2a2338}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1180px;padding:24px;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}
h1{font-size:26px;margin:0 0 4px}h2{font-size:18px;margin:32px 0 12px}h3{font-size:15px;margin:0;font-family:ui-monospace,monospace;overflow-wrap:anywhere}
p{margin:4px 0;overflow-wrap:anywhere}code,pre{font:13px/1.45 ui-monospace,monospace}a{color:inherit}
.dim{color:var(--dim)}
.verdict{border-left:6px solid var(--dim);padding:12px 16px;background:var(--soft)}
.verdict.go{border-color:var(--ok)}.verdict.no-go{border-color:var(--bad)}.verdict.inconclusive{border-color:var(--warn)}
.counts{display:flex;flex-wrap:wrap;gap:8px;margin:12px 0 0;padding:0;list-style:none}
.counts li{padding:2px 10px;border:1px solid var(--line);border-radius:12px;background:var(--bg)}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:6px}
.graph{display:block}.graph text{font:12px system-ui,sans-serif;fill:var(--fg)}.graph text.lane{font-weight:600;fill:var(--dim)}
.lane0{fill:var(--bg)}.lane1{fill:var(--soft)}
.edge{fill:none;stroke:var(--line);stroke-width:1.2}.edge.lit{stroke:var(--bad);stroke-width:2}
.node rect{fill:var(--bg);stroke:var(--line)}.node.pass rect{stroke:var(--ok);fill:var(--okbg)}
.node.fail rect,.node.error rect{stroke:var(--bad);fill:var(--badbg)}.node.root rect{stroke-width:3}.node.root text{font-weight:700}
.node.blocked rect{stroke:var(--wait);fill:var(--waitbg);stroke-dasharray:4 2}.node.waived rect{stroke:var(--warn);fill:var(--warnbg)}
.node.not-run text,.node.not-applicable text{fill:var(--dim)}
.cards{display:grid;gap:12px;grid-template-columns:repeat(auto-fill,minmax(min(100%,480px),1fr))}
.card{border:1px solid var(--line);border-left:5px solid var(--bad);border-radius:6px;padding:12px 14px;min-width:0}
.card.advice{border-left-color:var(--dim)}.card.waived{border-left-color:var(--warn)}
.card p{overflow-wrap:anywhere}.tags span{display:inline-block;margin-right:6px;color:var(--dim);font-size:13px}
.fix{display:flex;gap:8px;align-items:flex-start;margin-top:8px}
.fix pre{flex:1;margin:0;padding:8px;background:var(--soft);border-radius:4px;white-space:pre-wrap;overflow-wrap:anywhere}
button{font:13px system-ui,sans-serif;padding:4px 10px;border:1px solid var(--line);border-radius:4px;background:var(--bg);color:var(--fg);cursor:pointer}
button:focus-visible,a:focus-visible{outline:2px solid var(--wait);outline-offset:2px}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:4px 10px;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:break-word}
th{white-space:nowrap;color:var(--dim);font-weight:600}td.s-fail,td.s-error{color:var(--bad)}td.s-pass{color:var(--ok)}td.s-waived{color:var(--warn)}td.s-blocked{color:var(--wait)}
:target{outline:2px solid var(--wait)}
summary{cursor:pointer;padding:6px 0}
@media print{.fix button{display:none}details>*{display:block}}
`

/** Copy buttons appear only where they work. */
export const script = `
for (const button of document.querySelectorAll('button[data-copy]')) {
  button.hidden = false
  button.addEventListener('click', async () => {
    const text = button.dataset.copy
    let copied = true
    try {
      await navigator.clipboard.writeText(text)
    } catch {
      const area = document.createElement('textarea')
      area.value = text
      document.body.append(area)
      area.select()
      copied = document.execCommand('copy')
      area.remove()
    }
    button.textContent = copied ? 'Copied' : 'Select it and copy'
    button.dataset.copied = copied
    setTimeout(() => { button.textContent = 'Copy' }, 2000)
  })
}
`
