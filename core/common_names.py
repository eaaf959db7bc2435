"""Words that are common as names of people, and words of this field that look like names and are none.

Written down by hand from what is common in many countries; far from complete. Names that are also words of
pathology, of file names or of everyday English (Rose, Mark, Brown, Max, Frank) are left out of the names.
"""

_GIVEN = """
    aaron abdul abdullah abigail adam adele adrian adriana agata agnes agnieszka ahmed ahmet aicha aisha alain
    albert alberto alejandra alejandro aleksander aleksandra alessandra alessandro alexander alexandra alexis alfred
    alfredo ali alice alicia alina allison amal amalia amanda amelie amina amir amit ana anastasia andrea andreas
    andreea andrei andrew andrzej angela angelica anita anja anke anna anne annette annika anouk anthony antoine
    anton antonia antonio arjun arnaud arthur astrid aurelie axel ayse barbara bartosz beatrice beatriz benjamin
    bernard bernd bettina birgit bjorn bogdan brigitte bruno camila camille carla carlos carmen carolina caroline
    catarina catherine cecilia chantal charles charlotte chiara chloe christa christian christina christine
    christoph christopher claire clara claudia claudio clement cornelia cristina daniel daniela daniele danielle
    david deborah delphine denise dennis diana diego dieter dimitri dirk dmitri dominik dominique dorota dorothea
    eduardo edward ekaterina elena eleonora elif elisa elisabeth elise elizabeth ella elodie emil emilia emilie
    emily emine emma emmanuel enrico enrique eric erika ernst esther eugenia eva evelyn fabian fabio farid fatima
    fatma federica federico felipe felix fernanda fernando filip florence florian francesca francesco francisco
    francois francoise franz frederic friedrich gabriel gabriela gabriele genevieve georg george georges gerard
    gerhard gertrud giacomo giorgio giovanna giovanni giulia giuseppe gloria gonzalo greta grzegorz guillaume gustav
    hamid hanna hannah hans harald hassan heike heinrich heinz helen helena helga helmut henri henrik henry herbert
    hiroshi horst hugo hussein ibrahim ines inga ingeborg ingrid irena irene irina isabel isabella isabelle ivan
    ivana jacek jacob jacqueline jacques jakob jakub james jana janet jasmin javier jean jeanne jennifer jens jeremy
    jessica joanna joao joel johan johann johanna johannes john jonas jonathan jordi jorge jose josef joseph
    josephine juan juana judith julia julian juliana julie julien juliette jurgen justyna kamil karen karin karl
    karla karolina katarina katarzyna kate katharina katherine kathleen katja kemal kenji kerstin kevin khalid klaus
    krzysztof kumar lars laura laurent lea leila lena leon leonardo liam lidia liliana linda lisa lorenzo louis
    louise luca lucas lucia luciana ludwig luis luisa lukas lukasz maarten madeleine magdalena mahmoud maja
    malgorzata manfred manuel manuela marc marcel marcin marco marcos margaret margarethe margarita margit maria
    mariam mariana marianne marie marija marina mario marion marta martha martin martina mary mateusz mathias
    mathieu matteo matthew matthias matthieu maurice mehmet melanie mercedes michael michaela michal michel michele
    miguel mikael mikhail milan milena mohamed mohammad mohammed monica monika monique muhammad murat mustafa nadia
    nadine nancy natalia natalie natasha nathalie nicolas nicole niels nikolai nina noah noemi nora norbert olaf
    oleg olga oliver olivia olivier oscar otto pablo pamela paola paolo pascal patricia patrick patrik paul paula
    paulina paulo pavel pedro petra philippe pierre piotr priya rachel rachida radek rafael rahul rainer rajesh ralf
    ramon raphael raquel rebecca regina reinhard renata renate ricardo riccardo richard rita robert roberta roberto
    rodrigo roland ronald rosario rudolf ruth sabine sabrina salma samuel sandra sanjay sara sarah sebastian sergei
    sergio sharon silvia simon simona simone sofia sonia sophia sophie stefan stefania stefanie stephan stephanie
    stephen steven suzanne sven svetlana sylvia sylvie takashi tanja tatiana teresa theodor theresa thierry thomas
    thorsten tiago tobias tomas tomasz torsten ulrich ulrike ursula uwe valentina valerie vanessa vera veronica
    veronika vicente victoria viktor viktoria vincent vincenzo virginia vladimir walter werner wilhelm william
    wojciech wolfgang xavier yasmin yolanda yuki yusuf yvonne zainab zofia
"""
_FAMILY = """
    abbas adams agarwal ahmad almeida alvarez alves anders andersen anderson andersson aydin bailey bakker bauer
    becker bennett bergmann bernardi bertrand bianchi bonnet brandt braun campbell cardoso carlsson carter carvalho
    castillo castro chaudhary cheng clarke collins colombo conti cruz davies davis delgado demir dijkstra dubois
    dupont durand eriksson evans fernandes fernandez ferrari ferreira fischer fontana fournier friedrich fuchs
    garcia gartner gauthier gomes gomez gonzales gonzalez greco gruber guerrero gupta gutierrez haas hansen hansson
    harris hartmann hernandez herrera herrmann hoffmann hofmann horvath huber hughes iglesias ivanov ivanova iyer
    jackson jansen jansson jensen jimenez johansen johansson johnson jones kaiser kaminski kaya keller kelly khan
    kimura klein koch kowalczyk kowalski kozlov kraus kruger kuznetsov lambert lange larsen larsson lefebvre lehmann
    lewandowski lewis lindberg lopes lopez lorenz ludwig lundberg maier marchand mariani marino marques martinez
    martini martins mathieu mayer mazur mehta mendes mendez mendoza merkel meyer michel miller mitchell mohammadi
    molina moore morales moreau moreira moreno moretti morgan morris mueller muller murphy nair navarro nelson
    neumann nguyen nielsen nilsson novak nowak nunes oliveira olsen olsson ortega ortiz ozturk papadopoulos parker
    patel pedersen peeters pereira perez petersen petersson petrov petrova pham phillips pinto popescu popov
    pospisil ramirez ramos reddy reyes ribeiro ricci richter rivera roberts robinson rodrigues rodriguez rogers
    rojas romano romero rossi rousseau roux ruiz russo ryan sahin sanchez sanders santos sato schmid schmidt schmitt
    schneider scholz schroder schroeder schubert schulz schulze schuster schwarz seidel serrano sharma silva
    simonsen singh smirnov smith sokolov sousa stewart suarez suzuki svensson swanson szabo takahashi tanaka taylor
    thompson thomsen torres turner vargas vasquez vazquez verma vidal vogel volkov wagner walker watanabe watson
    weber wilson winkler wisniewski wojcik wong wozniak yamamoto yildirim yildiz yilmaz zhang zhao ziegler
    zimmermann
"""
_OTHER = """
    about adenocarcinoma adenosis after again all also and annotated aperio apocrine april are area around artefact
    artifact atypia atypical august axilla axillary axio bach batch before benign biopsy block bloom blue blurred
    border bowen breakhis breast bright brown calcification camelyon camera canon carcinoma carl case cells center
    centre chromatin clear clinic cluster cohort color colour comedo control copy core cowden cribriform crop
    crushed cyst cytology cytoplasm dark data dataset dcis december dense department differentiated duct ductal
    early edge edited ellis elston eosin exported faint fat february fibroadenoma fibrocystic fibrosis field figure
    file final fine first foamy focal focus fold for from gleason good grade gray green grey group haematoxylin
    hamamatsu hematoxylin high histo histology hospital hyperplasia idc image images in infiltrating inflammation
    insitu institute invasive is it january july june lab laboratory large late lcis left leica lesion level lipoma
    lobular low lower lymph magnification malignant map march margin margins mass may medium medullary metaplasia
    metaplastic micro microscope microscopic microscopy mitoses mitosis model more motic mucinous myoepithelial
    nanozoomer necrosis necrotic new next nikon no node nodule normal not nottingham november nuclear nuclei
    nucleoli nucleus october of old olympus one only or original overview paget pale papillary papilloma part patch
    pathology patient philips phyllodes pink plate poor poorly position possible preview probably pus quality quick
    read red region repeat report result review richardson right roche sample sarcoma scan scanned scanner scanning
    scanscope scarff sclerosing screenshot second section september series sharp sheet side site situ slide slides
    slight small smear snapshot solid some specimen stain stained stroma stromal study sub subject suspicious target
    tcga test the there these third this tile tissue too top training trial tubular tubule tubules tumor tumour two
    type typical unclear under university unknown untitled upper validation ventana very view violet weak well white
    whole with without yellow zeiss zone zoom
"""

GIVEN_NAMES = frozenset(_GIVEN.split())
SURNAMES = frozenset(_FAMILY.split())
# Two capitalised words side by side are a name unless one of them is one of these.
OTHER_WORDS = frozenset(_OTHER.split())
