"""Top-level domains that names found in text may end in: country codes, and the generic ones in common use.

Not all that exist: of the generic ones, many are also words or endings of files.
"""

from __future__ import annotations

from typing import Final

_COUNTRIES: Final = """
ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bv bw by bz ca cc cd cf
cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gb gd ge gf gg
gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp
kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne
nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh si sj sk
sl sm sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn
vu wf ws ye yt za zm zw xn--p1ai xn--fiqs8s xn--fiqz9s xn--j6w193g xn--90ais xn--wgbh1c xn--mgbaam7a8h xn--3e0b707e
"""

_GENERIC: Final = """
aero agency app arpa art asia audio auto bank bar beauty best bet bid bike bio biz black blog blue bond boutique build
business buzz cab cafe cam camp capital car cards care casa cash casino cat center charity chat cheap church city click
clinic cloud club coach codes coffee com community company computer construction consulting contact cool coop country
coupons credit cricket cyou dance data date dating deals delivery design dev digital direct directory discount doctor
dog domains download earth eco edu education email energy engineer engineering enterprises equipment events exchange
expert express fail faith family fans farm fashion finance financial fish fit fitness flights fm foundation fun fund
fyi gallery game games garden gift gives glass global gmbh gold golf google gov green group guide guru hair help host
hosting hotels house how icu immo industries info ink institute insure int international investments irish jetzt jobs
kim kitchen kiwi land lat law lawyer lease legal life lighting limited limo link live llc loan lol london love ltd
management market marketing markets mba media men menu microsoft mil mobi moda moe mom money monster museum music name
net network new news ngo ninja nyc one onl online onion org paris partners parts party pet photo photography photos
pics pictures pink pizza place plus poker porn post press pro productions promo properties property pub quest racing
recipes red rehab rent rentals repair report rest restaurant review reviews rip rocks run sale sbs school science
security services sex shop show singles site ski skin social software solar solutions space store stream studio style
supply support surf systems tattoo tax team tech technology tel tennis tips today tokyo tools top tours town toys trade
trading training travel university uno vacations ventures vet video villas vip vision vote voyage wang watch web
webcam website wedding wiki win wine work works world wtf xin xxx xyz yoga zone
"""

TOP_LEVELS: Final = frozenset((_COUNTRIES + _GENERIC).split())
