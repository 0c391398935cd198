"""What invented rows of dashboards are named with: codes of languages, and titles that want to be more than text."""

from typing import NamedTuple

_CODES = (
    "nl sv pl pt war arz uk fa ko id sr no tr fi hu ro da bg ms eo hy eu sk uz he lt kk sl gl hi ur el th ka bn la az "
    "ta mk te simple nn hr lv tt sq mr af be ml my sw et bs tg ky ast nap oc lmo pnb br io ku min ht ba cv bar scn "
    "szl fy ga is jv kn gu ne pa sd si so su yo ig ha zu xh sn rw mg mt yi am ti om sa as or bh mai dv bo km lo mn ug "
    "tk ps ckb lb li vls zea nds nds-nl fo se kl gd gv cy kw co sc fur lij pms vec eml pcd wa frp an ext roa-rup "
    "roa-tara rm als bat-smg sgs ltg vep olo koi kv mhr mrj myv mdf udm os ab av ce inh lbe lez kbd krc xal tyv sah "
    "bxr cu got ang stq frr pdc ksh dsb hsb csb rue rmy map-bms ban bug ace ilo pag bcl pam hil ceb tl cbk-zam sm to "
    "ty mi haw fj bi tpi hif pih na ch ki kg ln lg ny rn sg ss st tn ts tum tw ve wo ff bm ee fon ak dag gur kcg "
    "zh-yue zh-min-nan zh-classical hak gan wuu cdo za zgh shn mnw nqo jam ay qu gn nah nv chr chy cr ik iu din kab "
    "lad lfn ia ie vo nov jbo atj gor hyw mni nia pwn skr smn trv awa avk alt tet tcy szy blk ami anp gpe guw tly "
)
LANGUAGES = _CODES.split()
"""Of wikis that the recordings have not met; the first ones have the most."""


class Hostile(NamedTuple):
    """What somebody may call a page, or himself."""

    title: str
    user_name: str
    bytes_changed: int


HOSTILE = (
    Hostile("<img src=x onerror=\"document.title='pwned'\">", "<b onmouseover=alert(1)>Larnel</b>", 12_345),
    Hostile('=HYPERLINK("https://example.org/";"Vesor")', "+cmd|' /C calc'!A0", -15_000),
    Hostile("\u202eשלום نوعية\u202c (left) \u200fעברית", "\u202egnihsif\u202c", 21_000),
    Hostile("\U0001f9ed" * 255, "\U0001d54e" * 120, 18_000),
    Hostile("{{ alert(1) }} ${7*7} {% raw %}", "@SUM(1+1)*cmd", -11_111),
    Hostile("</script><script>document.title='pwned'</script>", "javascript:alert(1)", 10_001),
    Hostile("'; DROP TABLE batch.activity; --", "Robert'); --", 10_777),
)
"""Inert text everywhere, or something is broken."""
