use std::{fmt, sync::Arc};

/// Declares the entities once: variant, name on the record, and what it is.
macro_rules! entities {
    ($($variant:ident = $name:literal, $doc:literal;)*) => {
        /// What a hit is.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Entity {
            $(#[doc = $doc] $variant,)*
            /// What a [`CustomDetector`](crate::CustomDetector) finds, by its name.
            Custom(Arc<str>),
        }

        impl Entity {
            /// All built-in ones, in the order of their names' families.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name that stands in masked text and on the record.
            #[must_use]
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Custom(name) => name,
                }
            }

            /// What it is, in a sentence.
            #[must_use]
            pub fn about(&self) -> &str {
                match self {
                    $(Self::$variant => $doc,)*
                    Self::Custom(_) => "What a custom detector finds.",
                }
            }
        }
    };
}

entities! {
    Email = "EMAIL", "An e-mail address.";
    Phone = "PHONE", "A telephone number.";
    Url = "URL", "An address of the web, or a domain named as one.";
    CreditCard = "CREDIT_CARD", "A payment card number: issuer range, length and Luhn check.";
    CardTrack = "CARD_TRACK", "A track of a card's magnetic stripe (ISO/IEC 7813).";
    Cvv = "CVV", "A card's verification code, where it is named as one.";
    CardExpiry = "CARD_EXPIRY", "A card's expiry, where it is named as one.";
    Iban = "IBAN", "An international bank account number: the country's length and mod 97 (ISO 13616).";
    Swift = "SWIFT", "A business identifier code (ISO 9362), where it is named as one.";
    AbaRouting = "ABA_ROUTING", "A US bank's routing number, where it is named as one: district and weights 3-7-1.";
    BankAccount = "BANK_ACCOUNT", "A bank account number, where it is named as one.";
    IpAddress = "IP_ADDRESS", "An IPv4 or IPv6 address.";
    MacAddress = "MAC_ADDRESS", "The hardware address of a network interface.";
    Uuid = "UUID", "A universally unique identifier (RFC 9562).";
    UsSsn = "US_SSN", "A US Social Security number in a range that is issued.";
    UsItin = "US_ITIN", "A US taxpayer identification number.";
    UsEin = "US_EIN", "A US employer identification number, where it is named as one.";
    UsPassport = "US_PASSPORT", "A passport number, where it is named as one.";
    UsDriverLicense = "US_DRIVER_LICENSE", "A US driver's license number, where it is named as one.";
    UsNpi = "US_NPI", "A US national provider identifier.";
    UsMbi = "US_MBI", "A US Medicare beneficiary identifier.";
    MedicalLicense = "MEDICAL_LICENSE", "A US prescriber's DEA registration.";
    Imei = "IMEI", "A mobile device: Luhn.";
    Imsi = "IMSI", "A mobile subscriber, where it is named as one.";
    Iccid = "ICCID", "A SIM card (ITU-T E.118): Luhn.";
    Vin = "VIN", "A vehicle (ISO 3779): mod 11 at the ninth place.";
    LicensePlate = "LICENSE_PLATE", "The plate of a vehicle, where it is named as one.";
    Crypto = "CRYPTO", "An address of a crypto currency: Base58Check, Bech32(m) or EIP-55.";
    UkNhs = "UK_NHS", "A UK National Health Service number: mod 11.";
    UkNino = "UK_NINO", "A UK National Insurance number.";
    UkUtr = "UK_UTR", "A UK unique taxpayer reference, where it is named as one: mod 11.";
    UkDrivingLicence = "UK_DRIVING_LICENCE", "A UK driving licence.";
    UkPassport = "UK_PASSPORT", "A UK passport, where it is named as one.";
    UkPostcode = "UK_POSTCODE", "A UK postcode, where it is named as one.";
    CaSin = "CA_SIN", "A Canadian social insurance number: Luhn.";
    CaOhip = "CA_OHIP", "An Ontario health card, where it is named as one: Luhn.";
    CaBcPhn = "CA_BC_PHN", "A British Columbia personal health number, where it is named as one: mod 11.";
    CaPostalCode = "CA_POSTAL_CODE", "A Canadian postal code, where it is named as one.";
    AuTfn = "AU_TFN", "An Australian tax file number: mod 11.";
    AuAbn = "AU_ABN", "An Australian business number: mod 89.";
    AuAcn = "AU_ACN", "An Australian company number: mod 10.";
    AuMedicare = "AU_MEDICARE", "An Australian Medicare card: mod 10.";
    InAadhaar = "IN_AADHAAR", "An Indian Aadhaar number: Verhoeff.";
    InPan = "IN_PAN", "An Indian permanent account number.";
    InGstin = "IN_GSTIN", "An Indian goods and services tax number: base 36.";
    InVoter = "IN_VOTER", "An Indian voter card, where it is named as one.";
    InPassport = "IN_PASSPORT", "An Indian passport, where it is named as one.";
    ZaIdNumber = "ZA_ID_NUMBER", "A South African identity number: date and Luhn.";
    NgNin = "NG_NIN", "A Nigerian identification number, where it is named as one.";
    BrCpf = "BR_CPF", "A Brazilian CPF: two digits mod 11.";
    BrCnpj = "BR_CNPJ", "A Brazilian CNPJ, with letters too: two digits mod 11.";
    BrCnh = "BR_CNH", "A Brazilian driving licence, where it is named as one: mod 11.";
    BrPis = "BR_PIS", "A Brazilian PIS or PASEP: mod 11.";
    BrCns = "BR_CNS", "A Brazilian health card, where it is named as one: mod 11.";
    BrTitulo = "BR_TITULO", "A Brazilian voter number, where it is named as one: mod 11.";
    BrRenavam = "BR_RENAVAM", "A Brazilian vehicle, where it is named as one: mod 11.";
    MxCurp = "MX_CURP", "A Mexican CURP: date and mod 10.";
    MxRfc = "MX_RFC", "A Mexican taxpayer: date.";
    ClRut = "CL_RUT", "A Chilean RUT: mod 11.";
    ArCuit = "AR_CUIT", "An Argentinian CUIT or CUIL: mod 11.";
    CoNit = "CO_NIT", "A Colombian NIT, where it is named as one: mod 11.";
    UyCi = "UY_CI", "A Uruguayan identity card: mod 10.";
    EcCedula = "EC_CEDULA", "An Ecuadorian identity card, where it is named as one: Luhn.";
    DeTaxId = "DE_TAX_ID", "A German tax number of a person: ISO 7064 mod 11,10.";
    DeSocialSecurity = "DE_SOCIAL_SECURITY", "A German pension insurance number: date and weights.";
    DeHealthInsurance = "DE_HEALTH_INSURANCE", "A German health insurance number: weights.";
    DeLanr = "DE_LANR", "A German doctor: weights.";
    DeBsnr = "DE_BSNR", "A German doctor's practice, where it is named as one.";
    DeIdCard = "DE_ID_CARD", "A German identity card or passport, where it is named as one: weights 7-3-1.";
    AtSvnr = "AT_SVNR", "An Austrian social insurance number, where it is named as one: mod 11 and date.";
    ChAhv = "CH_AHV", "A Swiss social insurance number: EAN-13.";
    NlBsn = "NL_BSN", "A Dutch citizen service number, where it is named as one: eleven-test.";
    BeNrn = "BE_NRN", "A Belgian national register number: mod 97 and date.";
    IePpsn = "IE_PPSN", "An Irish personal public service number: mod 23.";
    FrNir = "FR_NIR", "A French social security number: mod 97.";
    FrSiren = "FR_SIREN", "A French firm (SIREN, SIRET), where it is named as one: Luhn.";
    FrCni = "FR_CNI", "A French identity card, where it is named as one.";
    EsNif = "ES_NIF", "A Spanish DNI: letter by mod 23.";
    EsNie = "ES_NIE", "A Spanish foreigner number: letter by mod 23.";
    EsCif = "ES_CIF", "A Spanish firm: control character.";
    EsNss = "ES_NSS", "A Spanish social security number, where it is named as one: mod 97.";
    EsPassport = "ES_PASSPORT", "A Spanish passport, where it is named as one.";
    PtNif = "PT_NIF", "A Portuguese taxpayer, where it is named as one: mod 11.";
    ItFiscalCode = "IT_FISCAL_CODE", "An Italian fiscal code: mod 26.";
    ItVatCode = "IT_VAT_CODE", "An Italian VAT number: Luhn.";
    ItIdentityCard = "IT_IDENTITY_CARD", "An Italian identity card, where it is named as one.";
    ItDriverLicense = "IT_DRIVER_LICENSE", "An Italian driving licence.";
    GrAmka = "GR_AMKA", "A Greek social security number: date and Luhn.";
    TrNationalId = "TR_NATIONAL_ID", "A Turkish identity number: two digits mod 10.";
    IlIdNumber = "IL_ID_NUMBER", "An Israeli identity number, where it is named as one: Luhn.";
    DkCpr = "DK_CPR", "A Danish CPR number: date.";
    NoFodselsnummer = "NO_FODSELSNUMMER", "A Norwegian birth number: two digits mod 11.";
    SePersonnummer = "SE_PERSONNUMMER", "A Swedish personal number: date and Luhn.";
    SeOrganisationsnummer = "SE_ORGANISATIONSNUMMER", "A Swedish firm: Luhn.";
    FiPersonalIdentityCode = "FI_PERSONAL_IDENTITY_CODE", "A Finnish personal identity code: mod 31.";
    IsKennitala = "IS_KENNITALA", "An Icelandic kennitala, where it is named as one: mod 11.";
    BalticPersonalCode = "BALTIC_PERSONAL_CODE", "An Estonian or Lithuanian personal code: date and mod 11.";
    PlPesel = "PL_PESEL", "A Polish PESEL: date and mod 10.";
    PlNip = "PL_NIP", "A Polish tax number: mod 11.";
    PlRegon = "PL_REGON", "A Polish firm, where it is named as one.";
    PlIdCard = "PL_ID_CARD", "A Polish identity card, where it is named as one: weights 7-3-1.";
    CzBirthNumber = "CZ_BIRTH_NUMBER", "A Czech or Slovak birth number: date and mod 11.";
    RoCnp = "RO_CNP", "A Romanian personal number: date and mod 11.";
    BgEgn = "BG_EGN", "A Bulgarian personal number, where it is named as one: date and mod 11.";
    HrOib = "HR_OIB", "A Croatian personal number: ISO 7064 mod 11,10.";
    UaTaxNumber = "UA_TAX_NUMBER", "A Ukrainian taxpayer, where it is named as one: mod 11.";
    KrRrn = "KR_RRN", "A Korean resident registration: date and mod 11.";
    KrFrn = "KR_FRN", "A Korean foreigner registration: date and mod 11.";
    KrBrn = "KR_BRN", "A Korean firm: weights.";
    KrPassport = "KR_PASSPORT", "A Korean passport.";
    KrDriverLicense = "KR_DRIVER_LICENSE", "A Korean driving licence.";
    JpMyNumber = "JP_MY_NUMBER", "A Japanese individual number, where it is named as one: mod 11.";
    CnResidentId = "CN_RESIDENT_ID", "A Chinese resident: date and ISO 7064 mod 11-2.";
    TwNationalId = "TW_NATIONAL_ID", "A Taiwanese national: weights.";
    HkIdCard = "HK_ID_CARD", "A Hong Kong identity card: mod 11.";
    SgNric = "SG_NRIC", "A Singaporean NRIC or FIN: letter by mod 11.";
    SgUen = "SG_UEN", "A Singaporean firm, where it is named as one.";
    ThTnin = "TH_TNIN", "A Thai citizen: mod 11.";
    IdNik = "ID_NIK", "An Indonesian citizen, where it is named as one: date.";
    PhTin = "PH_TIN", "A Philippine TIN or UMID, where it is named as one.";
    MyNric = "MY_NRIC", "A Malaysian identity card: date.";
    Vat = "VAT", "A European value added tax number with its country.";
    ApiKey = "API_KEY", "An API key or token by its published prefix and shape.";
    Password = "PASSWORD", "A password, by its name.";
    Secret = "SECRET", "A secret by its name, random enough to be one.";
    BearerToken = "BEARER_TOKEN", "The credentials behind `Bearer`.";
    BasicAuth = "BASIC_AUTH", "The password of an HTTP address, or the credentials behind `Basic`.";
    ConnectionString = "CONNECTION_STRING", "The password in the address of a database or queue.";
    Jwt = "JWT", "A JSON Web Token.";
    PrivateKey = "PRIVATE_KEY", "A PEM private key, its body included.";
    KnownSecret = "KNOWN_SECRET", "A secret the masker was told to the letter; see [`Masker::also`](crate::Masker::also).";
}

impl Entity {
    /// The built-in entity of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|entity| entity.name() == name).cloned()
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
