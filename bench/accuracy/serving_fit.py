#!/usr/bin/env python3
"""Fits the serving factors of planner/engines/tables to the even rows of serving_cases.csv.

usage: serving_fit.py TRUTH

Prints errors of fitted and held-out rows and, an engine a line, the factors; the names of the tables
are in the order of planner/serving.h. The terms are those of planner/serving.cc; the page of accuracy
is written by serving_accuracy, with the C++ model.
"""
import csv, math, sys

import torch

torch.manual_seed(0); torch.set_num_threads(1)
# L,H,heads,kv,hd, attn params/layer, expert params each(3*H*I), E, topk, dense mlp params/layer(shared incl), V, mla
def dense(L,H,I,h,kv,hd,V): return dict(L=L,H=H,h=h,hd=hd,attn=H*hd*(h*2+2*kv),ex=0,E=0,k=0,mlp=3*H*I,V=V,kv=2*kv*hd,kvh=kv,mla=0,Ld=0,mlpd=0,win=0)
M={'Llama-3.1-8B':dense(32,4096,14336,32,8,128,128256),'Llama-3.1-70B':dense(80,8192,28672,64,8,128,128256),'Qwen3-32B':dense(64,5120,25600,64,8,128,151936)}
g=dense(36,2880,0,64,8,64,201088); g.update(ex=3*2880*2880,E=128,k=4,win=128); M['gpt-oss-120b']=g
q=dense(94,4096,0,64,4,128,151936); q.update(ex=3*4096*1536,E=128,k=8); M['Qwen3-235B']=q
d=dict(L=61,H=7168,h=128,hd=192,attn=7168*1536+1536*128*192+7168*576+512*128*256+128*128*7168,ex=3*7168*2048,E=256,k=8,mlp=3*7168*2048,V=129280,kv=576,kvh=1,mla=1,Ld=0,mlpd=0,win=0)
M['DeepSeek-V3']=d; M['DeepSeek-R1']=d
GPU={'h100_sxm':(3.35e12,9.89e14,4.5e11),'h200_sxm':(4.8e12,9.89e14,4.5e11),'b200_sxm':(8e12,2.25e15,9e11)}
rows=[]
for r in csv.DictReader(open(sys.argv[1] + '/serving_cases.csv')):
    if r['system'] not in GPU: continue
    m=[k for k in M if k in r['model_path']]
    if not m: continue
    f=M[m[0]]
    dp=int(r['attention_dp_size'] or 1); tp=int(r['tp_size']); pp=int(r['pp_size'] or 1); ep=int(r['moe_ep_size'] or 1) or 1
    prec=r['gemm_quant_mode'] or r['precision'] or 'bf16'
    wb={'fp8':1,'fp8_block':1.004,'nvfp4':.5625,'bf16':2,'int4_wo':.52}.get(prec,2)
    gptoss=m[0]=='gpt-oss-120b'
    wexp=17/32 if gptoss else wb; wlin=2 if gptoss else wb
    pk={'fp8':2,'fp8_block':2,'nvfp4':4 if 'b200' in r['system'] else 1}.get(prec,1)
    if gptoss: pk=1 if 'b200' not in r['system'] else 2
    if ep>1 or dp>1 or pp>1 or not r['concurrency']: continue
    if m[0].startswith('Deep') and 'DeepSeek' in r['model_path'] and tp*dp<1: continue
    moetp=max(tp, int(r['moe_tp_size'] or 1)*ep) if f['E'] else tp
    ngpu=tp*dp
    bw,fl,nv=GPU[r['system']]
    c=int(float(r['concurrency'] or r['batch_size'])); isl=int(r['isl']); osl=int(r['osl'])
    rows.append(dict(id=r['id'],be=r['backend'],nc=not r['concurrency'],m=m[0],f=f,sys=r['system'],tp=tp,dp=dp,ng=max(ngpu,tp,moetp if f['E'] else tp),pp=pp,wl=wlin,we=wexp,pk=pk,bw=bw,fl=fl,nv=nv,c=c,isl=isl,osl=osl,ttft=float(r['silicon_ttft_ms'])/1e3,tpot=float(r['silicon_tpot_ms'])/1e3,prec=prec))
print(len(rows))
T=lambda k:torch.tensor([float(k(r)) for r in rows],dtype=torch.float64)
be=['trtllm','vllm','sglang']; bi=torch.tensor([be.index(r['be']) for r in rows])
fit=torch.tensor([int(r['id'][1:])%2==0 for r in rows])
def feats(r):
    f=r['f'];tp=r['tp'];ng=r['ng'];kvb1=1 if r['be']=='trtllm' and r['prec'] in('fp8','nvfp4','fp8_block') else 2
    L_=f['L']; Hh=f['H']
    wtot=(L_*(f['attn']+f['mlp'])*r['wl']+f['V']*Hh*4)/tp+(L_*f['E']*f['ex']*r['we']/r['ng'])
    cap={'h100_sxm':85e9,'h200_sxm':150e9,'b200_sxm':191e9}[r['sys']]
    kvs=L_*f['kv']*kvb1/ (1 if f['mla'] else min(tp,max(1,f['kvh'])))
    seqs=max(1.,(0.95*cap-wtot-2e9)/(kvs*(r['isl']+r['osl'])*(0.5 if f['win'] else 1)))
    r['fitseq']=seqs; B=min(r['c'],seqs)
    L=f['L'];ctx=r['isl']+r['osl']/2
    Btot=B
    touched=f['E']*(1-(1-f['k']/f['E'])**Btot) if f['E'] else 0
    wby=L*(f['attn']+f['mlp'])*r['wl']/tp+f['V']*f['H']*2/tp+ (L*touched*f['ex']*r['we']/ng if f['E'] else 0)
    kvtp=1 if f['mla'] else tp
    kvctx=ctx if not f['win'] else (ctx+min(ctx,f['win']))/2
    kvb=B*kvctx*L*f['kv']*kvb1/min(kvtp,max(1,f['kvh'] if not f['mla'] else 1))
    dfl=2*(L*(f['attn']+f['mlp'])*B/tp+L*f['k']*f['ex']*Btot/ng)/r['pk']
    pfl=2*(L*(f['attn']+f['mlp'])/tp+L*f['k']*f['ex']*r['dp']/ng)*r['isl']/r['pk']
    afl=2*r['isl']**2*L*f['h']*f['hd']/tp*(0.5 if f['win'] else 1)
    com=(2*L if tp>1 or ng>1 else 0)
    return [wby/r['bw'],kvb/r['bw'],dfl/r['fl'],pfl/r['fl'],afl/r['fl'],com, com*B*f['H']*2/r['nv'], com*r['isl']*f['H']*2/r['nv'], L, B, r['osl'], r['c'], math.log2(max(tp,1)), 1 if f['E'] else 0,1 if r['sys']=='b200_sxm' else 0, math.log(r['osl']/1024), max(0.,r['c']-B), 1 if r['prec']=='nvfp4' and not f['win'] else 0]
X=torch.tensor([feats(r) for r in rows],dtype=torch.float64)
tp_,tt_=T(lambda r:r['tpot']),T(lambda r:r['ttft'])
# params per backend (log)
names=['i_w','i_kv','i_df','i_pf','i_af','ar0','cb','l0','s0','alpha','q','p0','lmoe','gmoe_pf','b2w','qexp','b2p','oexp','g4w','g4p','wait']
init=[1.2,1.3,1.5,1.5,2.0,6e-6,1.5,1e-5,5e-4,0.7,0.3,0.01,2e-5,1.5,1.2,0.5,1.3,0.3,1.1,1.1,0.5]
P=torch.tensor([[math.log(v) for v in init]]*3,dtype=torch.float64,requires_grad=True)
def model(P):
    p=P.exp()[bi]; g={n:p[:,i] for i,n in enumerate(names)}
    moe=X[:,13]; b2=X[:,14]
    b2w=g['b2w']**b2; b2p=g['b2p']**b2
    four=X[:,17]; b2w=b2w*g['g4w']**four; b2p=b2p*g['g4p']**four; osf=torch.exp(-X[:,15]*g['oexp'])
    dec=g['s0']+X[:,8]*(g['l0']+moe*g['lmoe'])+(X[:,0]*g['i_w']+X[:,1]*g['i_kv'])*b2w+X[:,2]*g['i_df']*b2p+X[:,5]*g['ar0']+X[:,6]*g['cb']
    pre=g['p0']+X[:,8]*(g['l0']+moe*g['lmoe'])+(X[:,3]*g['i_pf']*g['gmoe_pf']**moe+X[:,4]*g['i_af'])*b2p+X[:,5]*g['ar0']+X[:,7]*g['cb']
    B=X[:,9]
    tpot=dec+g['alpha']*B/X[:,10]*pre
    ttft=g['p0']*osf+(pre-g['p0'])*(1+g['q']*osf*(B-1).clamp(min=0)**g['qexp'])+dec+X[:,16]/X[:,9]*tpot*X[:,10]*g['wait']
    return tpot,ttft
opt=torch.optim.Adam([P],lr=0.03)
P0=P.detach().clone()
for it in range(2500):
    opt.zero_grad(); a,b=model(P)
    ea=0.5*(a.log()-tp_.log()).abs()+0.5*(a-tp_).abs()/tp_; eb=0.5*(b.log()-tt_.log()).abs()+0.5*(b-tt_).abs()/tt_
    loss=ea[fit].mean()+0.6*eb[fit].mean()+0.002*((P-P0)**2).mean()
    loss.backward(); opt.step()
    if it==1800:
        for gp in opt.param_groups: gp['lr']=0.008
a,b=model(P); 
ma=((a-tp_).abs()/tp_).detach(); mb=((b-tt_).abs()/tt_).detach()
def rep(mask,n): print('%-28s n=%d  TPOT MAPE %.3f med %.3f  TTFT MAPE %.3f med %.3f'%(n,int(mask.sum()),ma[mask].mean(),ma[mask].median(),mb[mask].mean(),mb[mask].median()))
rep(fit,'fit');rep(~fit,'test')
for k in be: rep((~fit)&(bi==be.index(k)),k)
for mname in sorted(set(r['m'] for r in rows)): rep((~fit)&torch.tensor([r['m']==mname for r in rows]),mname)
for s in GPU: rep((~fit)&torch.tensor([r['sys']==s for r in rows]),s)
for i,k in enumerate(be): print(k,{n:float('%.4g'%v) for n,v in zip(names,P[i].exp().tolist())})
