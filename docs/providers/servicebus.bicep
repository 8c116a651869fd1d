// What scaleout needs in Azure Service Bus: a namespace, and who may use it. With `nodes`, topics and subscriptions too.
//
//     az deployment group create -g chat -f servicebus.bicep -p namespaceName=chat-prod
//
// Not deployed yet: it was written without access to Azure.

@description('The name of the namespace: chat-prod for chat-prod.servicebus.windows.net. It is taken once in all of Azure.')
@minLength(6)
@maxLength(50)
param namespaceName string

param location string = resourceGroup().location

@description('Basic has no topics.')
@allowed(['Standard', 'Premium'])
param tier string = 'Standard'

@description('Messaging units. Premium only.')
@allowed([1, 2, 4, 8, 16])
param messagingUnits int = 1

@description('The setting `app`.')
param app string = 'chat'

@description('The setting `topic_prefix`.')
param topicPrefix string = 'scaleout-'

@description('The setting `topic_count`.')
@minValue(1)
@maxValue(64)
param topicCount int = 5

@description('''
For create_entities=false: the settings `subscription` of the nodes that receive. Empty (the default): nodes create topics
and subscriptions, and the policy has the right Manage.
''')
param nodes array = []

@description('''
Object ids of identities that connect by Microsoft Entra ID instead of a key. Whoever deploys this has to be allowed to
assign roles.
''')
param identities array = []

@description('No keys: connections by Microsoft Entra ID only.')
param disableKeys bool = false

var createEntities = empty(nodes)

resource serviceBus 'Microsoft.ServiceBus/namespaces@2024-01-01' = {
  name: namespaceName
  location: location
  sku: tier == 'Premium'
    ? {
        name: 'Premium'
        tier: 'Premium'
        capacity: messagingUnits
      }
    : {
        name: 'Standard'
        tier: 'Standard'
      }
  properties: {
    disableLocalAuth: disableKeys
    minimumTlsVersion: '1.2'
  }
}

// Its connection string: az servicebus namespace authorization-rule keys list -n scaleout …
resource policy 'Microsoft.ServiceBus/namespaces/authorizationRules@2024-01-01' = if (!disableKeys) {
  parent: serviceBus
  name: 'scaleout'
  properties: {
    // Manage is refused without the other two.
    rights: createEntities ? ['Manage', 'Send', 'Listen'] : ['Send', 'Listen']
  }
}

// As nodes create them: never partitioned, with duplicate detection, which cannot be turned on later.
resource topics 'Microsoft.ServiceBus/namespaces/topics@2024-01-01' = [
  for index in range(0, createEntities ? 0 : topicCount): {
    parent: serviceBus
    name: '${topicPrefix}${app}-${index}'
    properties: {
      requiresDuplicateDetection: true
      duplicateDetectionHistoryTimeWindow: 'PT1H'
      defaultMessageTimeToLive: 'PT5M'
      maxSizeInMegabytes: 1024
      supportOrdering: true
      enablePartitioning: false
    }
  }
]

// One for every node on every topic. They stay when a node is away: the names are given to the next ones that start.
resource subscriptions 'Microsoft.ServiceBus/namespaces/topics/subscriptions@2024-01-01' = [
  for index in range(0, topicCount * length(nodes)): {
    parent: topics[index % topicCount]
    name: nodes[index / topicCount]
    properties: {
      lockDuration: 'PT5S'
      maxDeliveryCount: 2000
      defaultMessageTimeToLive: 'PT5M'
      deadLetteringOnMessageExpiration: false
      requiresSession: false
    }
  }
]

var owner = '090c5cfd-751d-490a-894a-3ce6f1109419' // Azure Service Bus Data Owner
var sender = '69a216fc-b8fb-44d8-bc22-1f3c2cd27a39' // Azure Service Bus Data Sender
var receiver = '4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0' // Azure Service Bus Data Receiver
var roles = createEntities ? [owner] : [sender, receiver]

resource assignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for index in range(0, length(roles) * length(identities)): {
    scope: serviceBus
    name: guid(serviceBus.id, identities[index / length(roles)], roles[index % length(roles)])
    properties: {
      principalId: identities[index / length(roles)]
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles[index % length(roles)])
    }
  }
]

output host string = '${namespaceName}.servicebus.windows.net'
