import{K as e,U as t,W as n,Y as r,g as i,p as a}from"./overlay-vanNbofj.js";import{r as o}from"./small-BGpcEBYN.js";import{t as s}from"./json-whPl9Keq.js";import{i as c,r as l,t as u}from"./types-ObW53jIF.js";import{t as d}from"./texts-Dxv-cgm3.js";var f=8,p=[];function m({label:o,value:s,set:m,broken:h}){let g=d.value,_=l(),v=_.data?.data??p,y=u(v),[b,x]=e(s.length>0),[S,C]=e(``),w=n(),T=b&&s.length===0;t(()=>h(T),[T]),t(()=>()=>h(!1),[]);let E=new Set(v.map(e=>e.name)),D=s.filter(e=>!E.has(e)),O=e=>D.find(t=>t.endsWith(`*`)&&e.startsWith(t.slice(0,-1))),k=v.filter(e=>`${e.name} ${e.description}`.toLowerCase().includes(S.trim().toLowerCase())),A=(e,t)=>m(t?[...s,e]:s.filter(t=>t!==e));return i(`fieldset`,{class:`choosing`,children:[i(`legend`,{children:o}),i(`label`,{class:`choice`,children:[i(`input`,{type:`radio`,name:w,checked:!b,onChange:()=>{x(!1),m([])}}),i(`span`,{children:g.allTypes})]}),i(`label`,{class:`choice`,children:[i(`input`,{type:`radio`,name:w,checked:b,onChange:()=>x(!0)}),i(`span`,{children:g.someTypes})]}),b&&i(a,{of:_,children:()=>i(r,{children:[v.length>=f&&i(`input`,{type:`text`,value:S,"aria-label":g.searchTypes,placeholder:g.searchTypes,onInput:e=>C(e.currentTarget.value)}),i(`div`,{class:`choices`,role:`group`,"aria-label":g.someTypes,tabIndex:0,children:[k.map(e=>{let t=O(e.name);return i(`label`,{class:`choice`,children:[i(`input`,{type:`checkbox`,checked:t!==void 0||s.includes(e.name),disabled:t!==void 0,onChange:t=>A(e.name,t.currentTarget.checked)}),i(`span`,{children:[i(`code`,{class:`type-name`,children:e.name}),i(`span`,{class:`faint`,children:t?g.coveredBy(t):e.description})]})]},e.name)}),k.length===0&&i(`p`,{class:`choice faint`,children:g.noTypes})]}),i(`details`,{open:D.length>0,children:[i(`summary`,{class:`faint`,children:g.byBeginning}),i(c,{name:`events`,label:i(`span`,{class:`unseen`,children:g.byBeginning}),hint:g.byBeginningHint,value:D,set:e=>m([...s.filter(e=>E.has(e)),...e]),suggestions:y.filter(e=>e.endsWith(`*`))})]}),T&&i(`p`,{class:`hint`,children:g.chooseOne})]})})]})}var h={python:{title:`Python`,install:`pip install standardwebhooks`,code:`import os
from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["WEBHOOK_SECRET"])

def receive(body: bytes, headers: dict[str, str]) -> int:
    try:
        event = webhook.verify(body, headers)
    except WebhookVerificationError:
        return 401
    print(event["type"], event["data"])
    return 204`},javascript:{title:`JavaScript`,install:`npm install standardwebhooks`,code:`import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET);

export function receive(body, headers) {
  let event;
  try {
    event = webhook.verify(body, headers);
  } catch {
    return 401;
  }
  console.log(event.type, event.data);
  return 204;
}`}},g=Object.keys(h);function _({of:t}){let n=d.value,[a,c]=e(`python`);if(t.signing!==null)return i(`p`,{class:`hint`,children:n.verifyOther});let{title:l,install:u,code:f}=h[a];return i(r,{children:[i(`p`,{class:`hint`,children:n.verifyHow}),i(`div`,{class:`snippet-of`,children:[g.map(e=>i(`button`,{type:`button`,"aria-pressed":e===a,onClick:()=>c(e),children:h[e].title},e)),i(`span`,{class:`grow`}),i(`code`,{children:u}),i(o,{text:u})]}),i(`div`,{class:`with-copy`,children:[i(o,{text:f}),i(s,{plain:!0,text:f,label:l})]})]})}export{m as n,_ as t};