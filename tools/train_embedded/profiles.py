"""What a pathologist expects to measure in tissues and lesions: the written knowledge of the text tower.

One record per tissue: ``names | levels``. Names are alternatives separated by ``;``. Levels run from
-3 to 3 on the attributes of :mod:`attributes` against average tissue; what is not named is average. Indented lines
continue the one above. Levels describe a field of about 100 micrometres inside the tissue, stained with H&E.
"""

from __future__ import annotations

from dataclasses import dataclass

TABLE = """
normal lung tissue; normal lung parenchyma; lung alveoli; alveolar tissue; pulmonary alveolar parenchyma;
  delicate alveolar septa | white+3 space+3 cells-1 pink-1 size-1 smooth+1 crowd-2 purple-1 gland-1 pale+1
lung tumor epithelium; lung adenocarcinoma; adenocarcinoma of the lung; pulmonary adenocarcinoma; acinar
  adenocarcinoma | cells+2 size+2 dark+1 crowd+2 round+1 purple+2 gland+1 fibre-1 pink-1 pleo+1 white-1
tumor epithelium; carcinoma; cancer epithelium; malignant epithelium; tumor cells; cancer; neoplastic
  epithelium | cells+2 size+2 dark+1 crowd+2 round+1 purple+2 fibre-1 pink-1 pleo+1 white-1
tumor nests; nests of tumor cells; islands of cancer; solid carcinoma nests; invasive carcinoma nests |
  cells+2 size+2 dark+1 crowd+2 round+1 purple+2 fibre-1 pink-1 pleo+1 white-2
tumor-associated stroma; tumour stroma; cancer stroma; desmoplastic stroma; desmoplasia; reactive stroma |
  pink+2 fibre+2 cells-1 round-2 size-1 crowd-1 purple-1 white-1 gland-2
stroma; connective tissue; fibrous stroma; collagen; fibrous tissue; fibrosis; scar; interstitial tissue |
  pink+2 fibre+2 cells-1 round-2 size-1 crowd-2 purple-2 white-1 gland-2
loose connective tissue; loose stroma; areolar tissue; edematous stroma; myxoid stroma | pink+0 fibre+1
  cells-1 pale+2 round-1 crowd-2 purple-1 white+1 slit+1
squamous cell carcinoma of the lung; lung squamous cell carcinoma; pulmonary squamous carcinoma | cells+1
  size+2 dark+0 crowd+1 round+1 purple+1 pink+1 pleo+2 white-2 gland-2
small cell carcinoma; oat cell carcinoma; neuroendocrine carcinoma, small cell | cells+3 size+1 dark+2 crowd+3
  purple+2 pink-2 white-2 round+0 pleo+0
large cell carcinoma; undifferentiated carcinoma; poorly differentiated carcinoma | cells+2 size+3 dark+1
  crowd+2 pleo+3 purple+2 white-2
mucinous adenocarcinoma; mucinous carcinoma; colloid carcinoma | pale+2 vac+1 cells+0 mucin+3 white+1 size+1
  gland+1 pink-1
signet ring cell carcinoma; signet ring cells | vac+2 pale+1 cells+1 mucin+2 dark+1 gland-1
papillary adenocarcinoma; papillary carcinoma; papillary growth | cells+2 size+1 slit+2 white+1 gland+1
  crowd+2 purple+1
lepidic adenocarcinoma; bronchioloalveolar carcinoma | white+2 cells+1 size+1 gland+1 space+1 crowd+1
lymphocytes; lymphocyte aggregate; lymphoid infiltrate; lymphocytic infiltrate; inflammatory infiltrate;
  immune infiltrate; tumor infiltrating lymphocytes; inflammation; immune cells | cells+3 size-2 dark+3
  crowd+1 round+3 purple+1 pink-2 pleo-2 white-1 gland-2 fibre-2
plasma cells; plasma cell infiltrate | cells+2 size-1 dark+1 round+2 purple+2 pink+0 pleo-1 gland-2
lymph node; lymphoid tissue; lymphoid follicle; germinal center; tonsil; spleen white pulp | cells+3 size-1
  dark+2 crowd+2 round+3 purple+2 pink-2 pleo-2 white-2 gland-2 fibre-2
lymphoma; follicular lymphoma; leukemia infiltrate; diffuse large B-cell lymphoma | cells+3 size+0 dark+2
  crowd+3 round+2 purple+2 pink-2 white-2 gland-2 fibre-2
neutrophils; acute inflammation; abscess; pus; suppuration | cells+2 size-2 dark+2 debris+2 pink+0 round+0
  pleo+1
granulation tissue | cells+1 pink+0 red+1 vac+1 slit+1 size-1
granuloma; epithelioid histiocytes; giant cells | cells+1 pink+1 size+1 round-1 dark-1
macrophages; foamy macrophages; histiocytes; foam cells | vac+2 pale+2 cells+0 dark-1 size+0
necrosis; necrotic tissue; tumor necrosis; coagulative necrosis; necrotic debris; debris; cell debris |
  cells-2 debris+3 pink+2 crowd-1 size-2 fibre-1 purple+0 dark-1 gland-2
apoptotic debris; karyorrhexis; dirty necrosis; comedonecrosis | cells+0 debris+3 pink+1 size-2 dark+1
adipose tissue; fat; fatty tissue; adipocytes; fat cells; mature fat; lipoma | white+3 space+3 cells-3 crowd-3
  pink-2 pale+1 purple-2 red-2 size-2 dark-2
blood; red blood cells; erythrocytes; hemorrhage; haemorrhage; extravasated blood; blood clot | red+3 cells-2
  pink+2 smooth+0 crowd-2 purple-2 white-1
blood vessel; artery; vein; arteriole; vascular wall; capillaries | pink+1 fibre+1 red+1 slit+1 cells-1
  round-2
congestion; congested vessels; hemangioma; vascular lesion | red+2 slit+1 cells+0 pink+1
smooth muscle; colonic smooth muscle; muscularis propria; muscle; muscular tissue; muscularis; myometrium;
  leiomyoma; muscle bundles | pink+3 fibre+3 cells-1 round-3 white-2 purple-1 crowd-1 gland-2 smooth+1
skeletal muscle; striated muscle; tongue muscle | pink+3 fibre+2 cells-3 smooth+2 white-1 slit+1 round-1
cardiac muscle; myocardium; heart muscle | pink+3 fibre+2 cells-2 smooth+1 slit+1
nerve; peripheral nerve; schwannoma; neural tissue | pink+0 fibre+2 cells+0 round-2 pale+1
background; white background; glass; empty glass; empty slide; no tissue | white+3 space+2 cells-3 pink-3
  purple-3 smooth+3 fibre-1 crowd-3 red-2 dark-3 size-3 vac-3 debris-3
lumen; empty lumen; luminal space | white+3 space+2 cells-2 smooth+2 gland+1 crowd-2
normal glands; normal glandular epithelium; benign glands; glandular epithelium; normal gland | cells+1
  gland+3 size+0 dark+0 crowd+1 mucin+1 vac+1 round+0 white+0 purple+1 pleo-2
normal colonic gland; normal colon mucosa; colonic crypts; crypts with goblet cells; benign colonic gland;
  normal colon; normal mucosa; intestinal mucosa | gland+3 vac+2 mucin+3 cells+1 size-1 crowd+0 white+0 pleo-2
  pale+1 dark+0
goblet cells; mucin filled goblet cells | vac+3 mucin+3 pale+2 cells+0 size-1
hyperplastic polyp; colonic polyp; polyp; polypoid mucosa; inflammatory polyp | gland+2 vac+1 mucin+2 cells+1
  size+0 crowd+1 slit+1 pleo-1
serrated adenoma; sessile serrated lesion; serrated polyp; sawtooth crypts | gland+2 vac+1 mucin+1 cells+1
  size+1 crowd+1 slit+2 pink+1
low-grade intraepithelial neoplasia; low grade dysplasia; tubular adenoma; adenoma; adenomatous gland |
  cells+2 gland+2 size+1 dark+1 crowd+2 round-1 mucin+0 purple+2 pleo+0
high-grade intraepithelial neoplasia; high grade dysplasia; carcinoma in situ of the colon; villous adenoma |
  cells+3 gland+1 size+2 dark+2 crowd+3 mucin-1 purple+3 pleo+1
colorectal adenocarcinoma; colon adenocarcinoma; malignant colonic gland; malignant gland; colorectal cancer;
  colorectal adenocarcinoma epithelium; invasive adenocarcinoma | cells+3 gland+1 size+2 dark+2 crowd+3
  mucin-2 purple+2 pleo+2 vac-1
colonic stroma; lamina propria; mucosal stroma; stroma and other non-glandular tissue; submucosa | cells+0
  pink+1 fibre+0 gland-3 size-2 round+0 crowd-1 purple-1 pale+1 mucin-1
complex stroma; stroma with inflammation; tumor stroma with lymphocytes; inflamed stroma | cells+1 pink+1
  fibre+1 size-1 dark+1 round+0 gland-2 purple+0
mucus; mucin; extracellular mucin; mucin pool; mucus lake; mucinous material | pale+3 mucin+3 cells-3 white+1
  smooth+1 pink-2 purple-1 crowd-3 size-2 dark-2 fibre+1
gastric mucosa; normal stomach; gastric glands; foveolar epithelium | gland+2 pink+1 cells+1 mucin+1 round+1
  size-1 pleo-2
gastric adenocarcinoma; stomach cancer; intestinal type gastric carcinoma | cells+2 size+2 dark+1 crowd+2
  gland+1 purple+1 pleo+2
intestinal metaplasia; Barrett esophagus | gland+2 vac+2 mucin+2 cells+1 size+0
small intestine; duodenum; villi; ileum | gland+2 cells+1 slit+2 mucin+1 vac+1 size-1
esophagus; normal squamous mucosa; squamous epithelium; stratified squamous epithelium; oral mucosa; normal
  oral epithelium; normal oral mucosa | cells+0 pink+1 smooth+1 size+0 crowd-1 white-2 gland-2 purple+1
  round+1 pleo-2 dark-1
oral squamous cell carcinoma; cutaneous squamous cell carcinoma; squamous cell carcinoma; squamous carcinoma;
  epidermoid carcinoma | cells+1 size+2 dark+0 crowd+1 pleo+2 pink+1 purple+1 white-2 gland-2
keratin; keratin pearl; keratinization; stratum corneum; keratinous debris; horn pearls | pink+3 cells-3
  smooth+1 fibre+1 crowd-3 purple-2 slit+1
skin; epidermis; normal skin | cells+1 pink+1 purple+1 white-1 gland-2 pleo-2 smooth+1
dermis; reticular dermis; papillary dermis | pink+3 fibre+1 cells-2 round-2 crowd-2 slit+1 gland-2 purple-2
basal cell carcinoma; basaloid carcinoma; basaloid nests | cells+3 size+0 dark+2 crowd+3 purple+2 pink-1
  round-1 pleo-1 slit+1 white-1
melanoma; malignant melanoma; melanocytic tumor; nevus | cells+2 size+2 pleo+2 dark+1 pink+0 brown+2 gland-2
  round+0
hair follicle; sebaceous gland; skin appendage; adnexa | vac+2 pale+1 cells+0 round+1
sweat gland; eccrine gland | gland+2 cells+1 size-1 pink+0
normal breast; breast lobule; normal breast duct; terminal duct lobular unit; mammary gland | gland+2 cells+1
  size-1 pink+1 pleo-2 crowd+1
invasive cancer; invasive breast cancer; invasive ductal carcinoma; breast cancer; invasive breast carcinoma;
  breast carcinoma | cells+2 size+2 dark+1 crowd+2 purple+2 pleo+1 white-1 gland+0 pink-1
cancer in situ; carcinoma in situ; ductal carcinoma in situ; DCIS; in situ carcinoma | cells+3 size+2 dark+1
  crowd+3 purple+2 pleo+1 white-1 gland+1 pink-1 fibre-2
lobular carcinoma; invasive lobular carcinoma; single file cells | cells+1 size+0 fibre+1 pink+1 round+1
fibroadenoma; phyllodes tumor | pink+1 fibre+1 cells+0 slit+1 pale+1
prostate stroma; fibromuscular stroma | pink+2 fibre+2 cells-1 round-2 crowd-1 gland-1 purple-1
prostate gland; benign prostate; normal prostate gland; prostatic hyperplasia | gland+3 white+1 pink+1 cells+1
  size-1 slit+1 pleo-2 pale+1
prostate adenocarcinoma; prostate cancer; Gleason pattern 3; Gleason pattern 4; acinar prostate cancer |
  gland+2 cells+2 size+1 crowd+2 pale+1 pleo+0
Gleason pattern 5; solid prostate cancer | cells+3 size+1 crowd+2 gland-1 purple+1
liver; hepatocytes; normal liver; liver parenchyma; hepatic tissue; hepatocellular carcinoma | pink+2 cells+0
  round+2 size+0 smooth+1 white-1 crowd-1 fibre-1 purple+1 gland-2 pleo-1
hepatocellular carcinoma; liver cancer; hepatoma | pink+1 cells+2 round+2 size+1 purple+1 crowd+1 pleo+1
  gland-1 fibre-1
steatosis; fatty liver; fatty change | vac+3 white+1 pink+1 cells-1 space+1
bile duct; portal tract; cholangiocarcinoma | gland+2 cells+1 pink+1 fibre+1
kidney; renal tubules; kidney cortex; renal cortex; tubules | gland+2 pink+2 cells+1 round+2 size-1 white+0
  pleo-2
glomerulus; glomeruli | cells+2 round+1 size-1 slit+1 pink+0
clear cell renal cell carcinoma; renal cell carcinoma; clear cell carcinoma; clear cells | vac+3 pale+2
  white+1 cells+0 round+1 size-1 crowd-1 red+1
papillary renal cell carcinoma; chromophobe renal cell carcinoma | cells+1 pink+1 slit+1 round+1
urothelium; urothelial carcinoma; bladder cancer; transitional cell carcinoma | cells+2 size+1 crowd+1 round+0
  pink+0 purple+1 white-1
pancreas; pancreatic acini; acinar tissue; exocrine pancreas; normal pancreas | purple+3 pink+1 cells+1
  round+2 size-1 white-1 gland+0 pleo-2
islet of Langerhans; endocrine pancreas; neuroendocrine tumor; carcinoid | cells+1 round+3 size-1 pale+1
  pleo-2 pink+0
pancreatic ductal adenocarcinoma; pancreatic cancer | gland+2 pink+1 fibre+1 cells+1 size+1 pleo+1
thyroid; thyroid follicles; thyroid colloid; goiter; colloid | pink+2 smooth+3 gland+1 cells-1 size-1 round+1
papillary thyroid carcinoma; thyroid cancer | cells+2 size+1 dark-1 crowd+2 slit+1 pale+1
brain; gray matter; grey matter; cerebral cortex; neuropil | pink+1 smooth+2 cells-2 pale+1 fibre-1 crowd-3
  round+1 white-1
white matter; myelinated fibres | pink+1 smooth+1 cells-1 fibre+1 pale+1 vac+1
glioma; astrocytoma; oligodendroglioma | cells+1 pink+1 smooth+0 size+0 round+1 gland-2
glioblastoma; high grade glioma | cells+2 pink+1 size+1 pleo+2 dark+1 round-1 gland-2 fibre+1
meningioma | cells+1 pink+1 fibre+1 round-1 size+0
bone; bone trabecula; lamellar bone; osteoid | pink+3 smooth+3 cells-3 fibre+0 crowd-3 round-1
bone marrow; hematopoietic tissue | cells+2 space+1 white+1 red+1 size-1 dark+1 round+2
cartilage; hyaline cartilage; chondroid matrix; chondrosarcoma | pale+2 smooth+3 cells-2 purple+2 pink-2 vac+1
osteosarcoma; sarcoma; pleomorphic sarcoma | cells+2 size+2 pleo+3 round-2 pink+1 fibre+1 dark+1
spindle cell tumor; spindle cell sarcoma; leiomyosarcoma; fibrosarcoma; gastrointestinal stromal tumor |
  cells+2 fibre+3 round-3 pink+1 size+1 crowd+1 gland-2
liposarcoma; lipoblasts | white+2 vac+2 space+1 pleo+1 cells-1
salivary gland; parotid gland; serous acini; mucous acini | purple+1 vac+1 cells+1 gland+1 pale+1 pleo-2
adrenal gland; adrenal cortex | vac+2 pale+1 pink+1 cells+0 round+2
placenta; chorionic villi | white+1 slit+1 cells+1 pink+1 red+1
endometrium; endometrial glands; proliferative endometrium; secretory endometrium | gland+2 cells+2 crowd+1
  size-1 purple+1
endometrial carcinoma; endometrioid carcinoma; uterine cancer | cells+2 gland+2 crowd+2 size+1 purple+2 pleo+1
ovary; ovarian stroma | cells+2 fibre+2 round-2 size-1 pink+0
serous carcinoma; ovarian cancer; high grade serous carcinoma | cells+2 size+2 pleo+2 slit+2 crowd+2 dark+2
dysplasia; oral epithelial dysplasia; squamous dysplasia | cells+2 crowd+1 size+1 dark+1 gland-2 purple+1
  white-2
metastatic carcinoma in lymph node; metastasis; lymph node metastasis; metastatic carcinoma | cells+2 size+2
  crowd+2 purple+2 pleo+1 white-2 fibre-1
usual ductal hyperplasia; hyperplasia | cells+2 gland+1 crowd+2 size+0 pleo-1 purple+1
giant cell tumor of bone; multinucleated giant cells | cells+2 size+1 pleo+1 pink+1
calcification; calcium; psammoma bodies | dark+1 purple+3 cells-2 smooth+1 crowd-2
liver cirrhosis; cirrhosis; renal interstitial fibrosis; interstitial fibrosis | pink+2 fibre+1 cells+0
  round-1 gland-1
cervix; cervical dysplasia; cervical intraepithelial neoplasia | cells+2 crowd+1 size+1 dark+1 gland-2
  purple+1 white-2
testis; seminiferous tubules; seminoma | cells+2 round+2 size+1 pale+1
mesothelioma; mesothelium; pleura | pink+1 fibre+1 cells+1 slit+1
edema; oedema; fluid | pale+2 smooth+1 cells-2 pink-1 white+1
fibrin; hyaline material; amyloid; proteinaceous fluid | pink+2 smooth+2 cells-3 crowd-3
bronchus; bronchial epithelium; bronchiole; respiratory epithelium; airway | gland+2 cells+1 space+1 white+1
  size-1 pleo-2
anthracosis; carbon pigment; pigment; hemosiderin | brown+2 cells+0 pink+1
emphysema; enlarged air spaces | white+3 space+3 cells-2 crowd-3
pneumonia; consolidated lung; organizing pneumonia; interstitial fibrosis of the lung | cells+1 pink+1 white-1
  size-1 red+1
tissue fold; artifact; out of focus; blurred area; ink; pen mark | smooth+2 cells+0 dark+0 purple+2
"""


@dataclass(frozen=True)
class Profile:
    """A tissue in words and levels.

    Attributes:
        names: Alternatives, the first is the field's term.
        levels: Attribute to level, -3 to 3.
    """

    names: tuple[str, ...]
    levels: dict[str, float]


def profiles() -> list[Profile]:
    """The table as objects, in its order."""
    out = []
    for line in TABLE.strip().replace("\n  ", " ").splitlines():
        names, levels = line.split("|")
        pairs = {}
        for word in levels.split():
            cut = max(word.find("+"), word.find("-"))
            pairs[word[:cut]] = float(word[cut:])
        out.append(Profile(tuple(n.strip() for n in names.split(";")), pairs))
    return out
